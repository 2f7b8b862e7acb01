"""Stage train: fit the model.

Writes models/model.pt, the curves in metrics/train and metrics/train.json. A run that was
stopped goes on from models/.checkpoint.pt, if parameters, photos and classes are the same.
`torchrun --nproc-per-node 4 src/train.py` trains on four GPUs; docs/gpus.md says more.
"""

import nogps  # noqa: F401  before torch, which reads what it sets

# isort: split
import hashlib
import math
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd
import torch
from dvclive import Live
from torch import Tensor, nn

import stage
from nogps import distributed, losses, model, store, training
from nogps.dataset import Photos, predict
from nogps.errors import InputError
from nogps.images import Augmentation
from nogps.licences import counted, for_model
from nogps.locate import Locator, places_of
from nogps.partition import Partition

CURVES = ("train_loss", "val_loss", "val_accuracy", "val_geoguessr", "lr")

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
    objective: losses.Softmax
    train: training.Labelled
    val: training.Labelled
    settings: training.Settings


def train(params: stage.Params) -> None:
    """Fit, keep the best epoch, calibrate, save."""
    began = time.monotonic()
    with distributed.processes() as device:
        start = setup(params)
        start.network.to(device)
        first = distributed.rank() == 0
        if first:
            gpu = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
            print(f"training on {device.type}{gpu}, processes: {distributed.world()}", flush=True)
        live = Live(str(stage.CURVES), dvcyaml=None, save_dvc_exp=False) if first else None
        with live or nullcontext():

            def log(epoch: training.Epoch) -> None:
                if live is None:
                    return
                for name, value in asdict(epoch).items():
                    if name in CURVES and math.isfinite(value):
                        live.log_metric(name, value, timestamp=False)
                live.next_step()

            state = training.fit(
                start.network,
                start.objective,
                start.train,
                start.val,
                start.settings,
                checkpoint=stage.CHECKPOINT,
                run_id=run_id(params),
                on_epoch=log,
            )
        outputs = predict(start.network, start.val.photos, params.batch_size, params.workers)
        if first:
            finish(params, start, state, outputs, state.spent + time.monotonic() - began)


def setup(params: stage.Params) -> Setup:
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
    classes = Partition.from_csv(stage.CELLS)
    if len(classes) < 2:
        raise InputError("cells: one class leaves nothing to learn; lower cells.max_photos")
    objective = losses.build(params.loss, classes, params.smoothing_km)
    network = model.build(params.backbone, objective.outputs, params.weights)
    model.check_size(network, params.backbone, params.image_size)
    own = {field.name for field in fields(training.Settings)} & set(stage.Params.model_fields)
    settings = training.Settings(
        pretrained=params.weights != "none", **params.model_dump(include=own)
    )
    return Setup(network, objective, labelled(params, "train"), labelled(params, "val"), settings)


def readable(fold: str) -> pd.DataFrame:
    """The readable photos of a fold, a row each."""
    photos = store.read_photos(stage.PACKED, stage.CANDIDATES, stage.SPLITS)
    return photos[(photos["fold"] == fold) & (photos["status"] == "ok")]


def about(params: stage.Params) -> dict[str, str]:
    """What people are told of a model: what it learned from, which licence it must carry."""
    photos = readable("train")
    return {
        "trained_on": f"{len(photos):,} photos ({stage.origin(params)})",
        "licence": f"photos under {counted(photos['licence'])}",
        "model_licence": str(for_model(photos, drawn=stage.drawn(params))),
    }


def labelled(params: stage.Params, fold: str) -> training.Labelled:
    """The readable photos of a fold and where they were taken."""
    photos = readable(fold)
    if photos.empty:
        raise InputError(f"the {fold} fold has no photo that can be read; give more photos")
    return training.Labelled(
        Photos(
            store.Shards(stage.PACKED),
            store.places(photos),
            params.image_size,
            params.seed,
            Augmentation(**params.augment.model_dump()),
        ),
        photos["latitude"].to_numpy(),
        photos["longitude"].to_numpy(),
        photos["owner"].to_numpy(),
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


def finish(
    params: stage.Params, start: Setup, state: training.State, outputs: Tensor, seconds: float
) -> None:
    """Calibrate on the validation fold, whose `outputs` are given; save and sum up."""
    val = start.val
    locator = Locator(
        start.network.cpu(),
        start.objective.cpu().partition,
        params.backbone,
        params.image_size,
        params.loss,
        params.decoding,
        about=about(params),
    )
    locator = locator.calibrated(outputs, val.latitude, val.longitude, places_of(val.owner))
    locator.save(stage.MODEL)
    numbers = summary(params, start, state, locator, outputs, seconds)
    stage.write_metrics("train", numbers)
    stage.CHECKPOINT.unlink(missing_ok=True)  # a run that is done is not to be gone on with
    head = " (the first is the head alone)" if len(state.history) > state.epoch else ""
    right = numbers["val_accuracy"]
    classes = "no validation photo lies in a class"
    if right is not None:
        classes = f"right class {right:.1f} % of the validation photos that lie in one"
    print(
        f"best of {len(state.history)} epochs{head}: {state.best_epoch + 1}, validation score "
        f"{numbers['val_geoguessr']:.0f}, {classes}"
    )


def summary(
    params: stage.Params,
    start: Setup,
    state: training.State,
    locator: Locator,
    outputs: Tensor,
    seconds: float,
) -> dict:
    """The small numbers of a run; the val_ ones are those of the model as it was saved."""
    whole = state.history[-state.epoch :]  # epochs of the whole network, or else the head's
    sizes = start.objective.partition.photos
    loss, accuracy, score = training.judged(
        start.objective, outputs, start.val, params.decoding, locator.calibration
    )
    return {
        "epochs": len(state.history),
        "best_epoch": state.best_epoch + 1,
        "first_loss": stage.number(round(state.first_loss, 4)),
        "ln_classes": round(math.log(len(sizes)), 4),
        "train_loss": stage.number(state.history[state.best_epoch].train_loss),
        "val_loss": stage.number(loss),
        "val_accuracy": stage.number(accuracy),
        "val_geoguessr": score,
        "imbalance": round(float(sizes.max() / sizes.min()), 2),
        "calibration": {key: round(value, 4) for key, value in asdict(locator.calibration).items()},
        "parameters": sum(parameter.numel() for parameter in start.network.parameters()),
        "seconds": round(sum(epoch.seconds for epoch in state.history), 1),
        "photos_per_second": round(
            sum(epoch.photos for epoch in whole) / sum(epoch.seconds for epoch in whole), 1
        ),
        "hours": round(seconds / 3600, 4),
        "dollars": round(seconds / 3600 * params.usd_per_hour, 4),
    }


if __name__ == "__main__":
    stage.main(train, __doc__)
