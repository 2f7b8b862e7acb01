"""What training starts from, by params.yaml: network, photos, settings."""

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
import torch
from torch import nn

import nogps  # noqa: F401  before torch, which reads what it sets
from nogps.base.errors import InputError
from nogps.dataset import tables
from nogps.model import backbones, distributed, objectives
from nogps.model.batches import Photos
from nogps.model.classes import Partition
from nogps.model.tensors import Augmentation
from nogps.photos import shards
from nogps.pipeline import paths
from nogps.pipeline.params import Params, drawn, origin
from nogps.rights.licences import counted, for_model
from nogps.train import loop

# The parameters that a checkpoint depends on.
DECISIVE = {
    "seed",
    "image_size",
    "backbone",
    "weights",
    "loss",
    "smoothing_km",
    "class_balance",
    "decoding",
    "epochs",
    "head_epochs",
    "batch_size",
    "lr",
    "head_lr",
    "first_layers_lr",
    "warmup",
    "weight_decay",
    "head_weight_decay",
    "averaging",
    "start_share",
    "augment",
    "precision",
    "patience",
}


@dataclass(frozen=True)
class Setup:
    """What training starts from."""

    network: nn.Module
    objective: objectives.Softmax
    train: loop.Labelled
    val: loop.Labelled
    settings: loop.Settings


def setup(params: Params) -> Setup:
    """The network, what it is trained for, the photos and how to train."""
    torch.manual_seed(params.seed)
    torch.backends.cudnn.deterministic = True
    if not params.epochs and (params.weights == "none" or not params.head_epochs):
        raise InputError(
            "epochs: 0 trains the head alone, which takes weights other than none, and head_epochs"
        )
    if params.batch_size < 2 * distributed.world():
        raise InputError(
            f"batch_size: {params.batch_size} leaves {distributed.world()} processes less than two "
            "photos each; raise it or start fewer"
        )
    classes = Partition.from_csv(paths.CELLS)
    if len(classes) < 2:
        raise InputError("cells: one class leaves nothing to learn; lower cells.max_photos")
    objective = objectives.build(params.loss, classes, params.smoothing_km)
    network = backbones.build(params.backbone, objective.outputs, params.weights)
    backbones.check_size(network, params.backbone, params.image_size)
    own = {field.name for field in fields(loop.Settings)} & set(Params.model_fields)
    settings = loop.Settings(pretrained=params.weights != "none", **params.model_dump(include=own))
    return Setup(network, objective, labelled(params, "train"), labelled(params, "val"), settings)


def readable(fold: str) -> pd.DataFrame:
    """The readable photos of a fold, a row each."""
    photos = tables.read_photos(paths.PACKED, paths.CANDIDATES, paths.SPLITS)
    return photos[(photos["fold"] == fold) & (photos["status"] == "ok")]


def about(params: Params) -> dict[str, str]:
    """What people are told of a model: what it learned from, which licence it must carry."""
    photos = readable("train")
    return {
        "trained_on": f"{len(photos):,} photos ({origin(params)})",
        "licence": f"photos under {counted(photos['licence'])}",
        "model_licence": str(for_model(photos, synthetic=drawn(params))),
    }


def labelled(params: Params, fold: str) -> loop.Labelled:
    """The readable photos of a fold and where they were taken."""
    photos = readable(fold)
    if photos.empty:
        raise InputError(f"the {fold} fold has no photo that can be read; give more photos")
    return loop.Labelled(
        Photos(
            shards.Shards(paths.PACKED),
            shards.places(photos),
            params.image_size,
            params.seed,
            Augmentation(**params.augment.model_dump()),
        ),
        photos["latitude"].to_numpy(),
        photos["longitude"].to_numpy(),
        photos["owner"].to_numpy(),
    )


def run_id(params: Params) -> str:
    """What has to be the same for a checkpoint to be of use: parameters, photos, classes."""
    digest = hashlib.sha256(params.model_dump_json(include=DECISIVE).encode())
    inputs = [paths.CANDIDATES, paths.PACKED / shards.INDEX, paths.SPLITS, paths.CELLS]
    if params.weights not in ("none", "imagenet"):
        inputs.append(Path(params.weights))
    for path in inputs:
        digest.update(path.read_bytes())
    return digest.hexdigest()
