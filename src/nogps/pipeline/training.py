"""Stage train, by params.yaml: what it starts from, and what it writes at its end."""

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from dvclive.live import Live

from nogps.base.errors import InputError
from nogps.dataset import tables
from nogps.model import distributed
from nogps.model.batches import Labelled, Photos, predict
from nogps.model.classes import Partition
from nogps.model.decode import places_of
from nogps.model.locator import Locator
from nogps.photos import shards
from nogps.pipeline import paths
from nogps.pipeline.params import Params, origin, synthetic
from nogps.pipeline.run import number
from nogps.rights.licences import counted, for_model
from nogps.train.run import Epoch, Run
from nogps.train.settings import TrainSettings

CURVES = ("train_loss", "val_loss", "val_accuracy", "val_geoguessr", "lr")


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
    locator = Locator.untrained(classes, params, about(params))
    locator.network.to(device)
    train, val = (labelled(params, fold) for fold in ("train", "val"))
    return Run(locator, train, val, params, params.workers)


def readable(fold: str) -> pd.DataFrame:
    """The readable photos of a fold, a row each."""
    photos = tables.read_photos(paths.PACKED, paths.CANDIDATES, paths.SPLITS)
    return tables.readable(photos, fold)


def about(params: Params) -> dict[str, str]:
    """What people are told of a model: what it learned from, which licence it must carry."""
    photos = readable("train")
    return {
        "trained_on": f"{len(photos):,} photos ({origin(params)})",
        "licence": f"photos under {counted(photos['licence'])}",
        "model_licence": str(for_model(photos, synthetic=synthetic(params))),
    }


def labelled(params: Params, fold: str) -> Labelled:
    """The readable photos of a fold and where they were taken."""
    photos = readable(fold)
    if photos.empty:
        raise InputError(f"the {fold} fold has no photo that can be read; give more photos")
    return Labelled(
        Photos(
            shards.Shards(paths.PACKED),
            shards.byte_ranges(photos),
            params.image_size,
            params.seed,
            params.augment,
        ),
        photos["latitude"].to_numpy(),
        photos["longitude"].to_numpy(),
        photos["owner"].to_numpy(),
    )


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


@contextmanager
def curves() -> Iterator[Callable[[Epoch], None]]:
    """A function that adds an epoch to the curves in metrics/train, in the first process alone."""
    if distributed.rank():
        yield lambda epoch: None
        return
    with Live(str(paths.CURVES), dvcyaml=None, save_dvc_exp=False) as live:

        def log(epoch: Epoch) -> None:
            for name in CURVES:
                if math.isfinite(value := getattr(epoch, name)):
                    live.log_metric(name, value, timestamp=False)
            live.next_step()

        yield log


def calibrate(params: Params, run: Run) -> tuple[Locator, tuple[float, float, float]]:
    """What was trained, on the CPU and calibrated on the validation fold, and how it does there.

    Each process predicts its share; loss, accuracy and score are those of `Locator.judge`.
    """
    val = run.val
    outputs = predict(run.network, val.photos, params.batch_size, params.workers)
    run.network.cpu()
    locator = run.locator.calibrated(outputs, val.latitude, val.longitude, places_of(val.owner))
    return locator, locator.judge(outputs, val)


def summary(
    params: Params,
    run: Run,
    locator: Locator,
    judged: tuple[float, float, float],
    seconds: float,
) -> dict[str, Any]:
    """The small numbers of a run; the val_ ones, `judged`, are of the locator as it was saved."""
    state, sizes = run.state, locator.partition.photos
    whole = state.history[-state.epoch :]  # epochs of the whole network, or else the head's
    loss, accuracy, score = judged
    return {
        "epochs": len(state.history),
        "best_epoch": state.best_epoch + 1,
        "first_loss": number(round(state.first_loss, 4)),
        "ln_classes": round(math.log(len(sizes)), 4),
        "train_loss": number(state.history[state.best_epoch].train_loss),
        "val_loss": number(loss),
        "val_accuracy": number(accuracy),
        "val_geoguessr": score,
        "imbalance": round(float(sizes.max() / sizes.min()), 2),
        "calibration": {key: round(value, 4) for key, value in asdict(locator.calibration).items()},
        "parameters": sum(parameter.numel() for parameter in run.network.parameters()),
        "seconds": round(sum(epoch.seconds for epoch in state.history), 1),
        "photos_per_second": round(
            sum(epoch.photos for epoch in whole) / sum(epoch.seconds for epoch in whole), 1
        ),
        "hours": round(seconds / 3600, 4),
        "dollars": round(seconds / 3600 * params.usd_per_hour, 4),
    }


def said(numbers: dict[str, Any], probed: bool) -> str:
    """The numbers of `summary` that people want to know first, in a sentence."""
    head = " (the first is the linear probe)" if probed else ""
    right = numbers["val_accuracy"]
    classes = "no validation photo lies in a class"
    if right is not None:
        classes = f"right class {right:.1f} % of the validation photos that lie in one"
    return (
        f"best of {numbers['epochs']} epochs{head}: {numbers['best_epoch']}, validation score "
        f"{numbers['val_geoguessr']:.0f}, {classes}"
    )
