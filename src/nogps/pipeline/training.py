"""Stage train, by params.yaml: what it starts from."""

import hashlib
from pathlib import Path

import pandas as pd
import torch

from nogps.base.errors import InputError
from nogps.dataset import tables
from nogps.model import distributed
from nogps.model.batches import Labelled, Photos
from nogps.model.classes import Partition
from nogps.model.locator import Locator
from nogps.photos import shards
from nogps.pipeline import paths
from nogps.pipeline.params import Params, origin, synthetic
from nogps.rights.licences import counted, for_model
from nogps.train.run import Run
from nogps.train.settings import TrainSettings


def setup(params: Params, device: str | torch.device = "cpu") -> Run:
    """An untrained Locator with the photos that it is to learn from, on a device."""
    torch.manual_seed(params.seed)
    torch.backends.cudnn.deterministic = True
    if not params.epochs and (not params.pretrained or not params.head_epochs):
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
    photos = tables.read_photos(paths.PACKED, paths.CANDIDATES, paths.SPLITS)
    train, val = (tables.readable(photos, fold) for fold in ("train", "val"))
    folds = labelled(params, "train", train), labelled(params, "val", val)
    locator = Locator.untrained(classes, params, about(params, train))
    locator.network.to(device)
    return Run(locator, *folds, params)


def about(params: Params, photos: pd.DataFrame) -> dict[str, str]:
    """What people are told of a model: what it learned from, which licence it must carry."""
    return {
        "trained_on": f"{len(photos):,} photos ({origin(params)})",
        "licence": f"photos under {counted(photos['licence'])}",
        "model_licence": for_model(photos, synthetic=synthetic(params)),
    }


def labelled(params: Params, fold: str, photos: pd.DataFrame) -> Labelled:
    """The readable photos of a fold and where they were taken."""
    if photos.empty:
        raise InputError(f"the {fold} fold has no photo that can be read; give more photos")
    where, how = shards.byte_ranges(photos), (params.seed, params.augment, params.workers)
    packed = Photos(shards.Shards(paths.PACKED), where, params.image_size, *how)
    columns = (photos[name].to_numpy() for name in ("latitude", "longitude", "owner"))
    return Labelled(packed, *columns)


def run_id(params: Params) -> str:
    """What has to be the same for a checkpoint to be of use: parameters, photos, classes."""
    decisive = params.model_dump_json(include=set(TrainSettings.model_fields))
    digest = hashlib.sha256(decisive.encode())
    inputs = [paths.CANDIDATES, paths.PACKED / shards.INDEX, paths.SPLITS, paths.CELLS]
    if params.weights not in ("none", "imagenet"):
        inputs.append(Path(params.weights))
    for path in inputs:
        digest.update(path.read_bytes())
    return digest.hexdigest()
