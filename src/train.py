"""Stage train: fit the model.

Writes models/model.pt, the curves in metrics/train and metrics/train.json. A run that was
stopped goes on from models/.checkpoint.pt, if parameters, photos and classes are the same.
"""

import hashlib
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from dvclive import Live

import stage
from nogps import model, store, training
from nogps.dataset import Photos
from nogps.errors import InputError
from nogps.locate import Locator
from nogps.partition import Partition

CURVES = ("train_loss", "val_loss", "val_accuracy", "val_geoguessr", "lr")

# The parameters that a checkpoint depends on.
DECISIVE = {
    "seed",
    "image_size",
    "backbone",
    "weights",
    "epochs",
    "head_epochs",
    "batch_size",
    "lr",
    "weight_decay",
    "patience",
}


def train(params: stage.Params) -> None:
    """Fit, keep the best epoch, save."""
    torch.manual_seed(params.seed)
    torch.backends.cudnn.deterministic = True
    classes = Partition.from_csv(stage.CELLS)
    if len(classes) < 2:
        raise InputError("cells: one class leaves nothing to learn; lower cells.max_photos")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = model.build(params.backbone, len(classes), params.weights)
    model.check_size(network, params.backbone, params.image_size)
    folds = {fold: labelled(params, fold, classes) for fold in ("train", "val")}
    settings = training.Settings(
        epochs=params.epochs,
        head_epochs=0 if params.weights == "none" else params.head_epochs,
        batch_size=params.batch_size,
        lr=params.lr,
        weight_decay=params.weight_decay,
        patience=params.patience,
        workers=params.workers,
        seed=params.seed,
        keep_batch_norm=params.weights != "none",
    )
    with Live(str(stage.CURVES), dvcyaml=None, save_dvc_exp=False) as live:

        def log(epoch: training.Epoch) -> None:
            for name, value in asdict(epoch).items():
                if name in CURVES and math.isfinite(value):
                    live.log_metric(name, value, timestamp=False)
            live.next_step()

        state = training.fit(
            network.to(device),
            folds["train"],
            folds["val"],
            np.stack(classes.points(), axis=1),
            settings,
            checkpoint=stage.CHECKPOINT,
            run_id=run_id(params),
            on_epoch=log,
        )
    Locator(network.cpu(), classes, params.backbone, params.image_size).save(stage.MODEL)
    stage.write_metrics("train", summary(state, len(classes), network))
    stage.CHECKPOINT.unlink(missing_ok=True)  # a run that is done is not to be gone on with
    best = state.history[state.best_epoch]
    print(
        f"best of {len(state.history)} epochs: {state.best_epoch + 1}, "
        f"validation score {best.val_geoguessr:.0f}, accuracy {best.val_accuracy:.1f} %"
    )


def labelled(params: stage.Params, fold: str, classes: Partition) -> training.Labelled:
    """The readable photos of a fold with their classes and positions."""
    photos = pd.read_parquet(stage.SPLITS).merge(
        pd.read_parquet(stage.CANDIDATES), on="photo_id", validate="one_to_one"
    )
    photos = photos.merge(store.read_index(stage.PACKED), on="photo_id", validate="one_to_one")
    photos = photos[(photos["fold"] == fold) & (photos["status"] == "ok")]
    if photos.empty:
        raise InputError(f"the {fold} fold has no photo that can be read; give more photos")
    latitude, longitude = (photos[axis].to_numpy() for axis in ("latitude", "longitude"))
    return training.Labelled(
        Photos(store.Shards(stage.PACKED), store.places(photos), params.image_size, params.seed),
        np.asarray(classes.assign(latitude, longitude)),
        latitude,
        longitude,
    )


def run_id(params: stage.Params) -> str:
    """What has to be the same for a checkpoint to be of use: parameters, photos, classes."""
    digest = hashlib.sha256(params.model_dump_json(include=DECISIVE).encode())
    inputs = [stage.CANDIDATES, stage.PACKED / store.INDEX, stage.SPLITS, stage.CELLS]
    if params.weights not in ("none", "imagenet"):
        inputs.append(Path(params.weights))
    for path in inputs:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def summary(state: training.State, classes: int, network: torch.nn.Module) -> dict:
    """The small numbers of a run."""
    best = state.history[state.best_epoch]
    seconds = sum(epoch.seconds for epoch in state.history)
    return {
        "epochs": len(state.history),
        "best_epoch": state.best_epoch + 1,
        "first_loss": round(state.first_loss, 4),
        "ln_classes": round(math.log(classes), 4),
        **{key: stage.number(value) for key, value in asdict(best).items() if key in CURVES[:-1]},
        "best_lr": best.lr,  # not `lr`, which is the parameter's name in `dvc exp show`
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "seconds": round(seconds, 1),
        "photos_per_second": round(sum(epoch.photos for epoch in state.history) / seconds, 1),
    }


if __name__ == "__main__":
    stage.main(train, __doc__)
