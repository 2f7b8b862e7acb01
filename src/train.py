"""Stage train: fit the model.

Writes models/model.pt, the curves in metrics/train and metrics/train.json. A run that was
stopped goes on from models/.checkpoint.pt, if parameters, photos and classes are the same.
`torchrun --nproc-per-node 4 src/train.py` trains on four GPUs; docs/gpus.md says more.
"""

import math
import time
from contextlib import nullcontext
from dataclasses import asdict

import torch
from dvclive import Live
from torch import Tensor

import nogps  # noqa: F401  before torch, which reads what it sets
from nogps.model import distributed
from nogps.model.batches import predict
from nogps.model.decode import places_of
from nogps.model.locator import Locator
from nogps.pipeline import paths, run
from nogps.pipeline.params import Params
from nogps.pipeline.training import Setup, about, run_id, setup
from nogps.train import loop

CURVES = ("train_loss", "val_loss", "val_accuracy", "val_geoguessr", "lr")


def train(params: Params) -> None:
    """Fit, keep the best epoch, calibrate, save."""
    began = time.monotonic()
    with distributed.processes() as device:
        start = setup(params)
        start.network.to(device)
        first = distributed.rank() == 0
        if first:
            gpu = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
            print(f"training on {device.type}{gpu}, processes: {distributed.world()}", flush=True)
        live = Live(str(paths.CURVES), dvcyaml=None, save_dvc_exp=False) if first else None
        with live or nullcontext():

            def log(epoch: loop.Epoch) -> None:
                if live is None:
                    return
                for name, value in asdict(epoch).items():
                    if name in CURVES and math.isfinite(value):
                        live.log_metric(name, value, timestamp=False)
                live.next_step()

            state = loop.fit(
                start.network,
                start.objective,
                start.train,
                start.val,
                start.settings,
                checkpoint=paths.CHECKPOINT,
                run_id=run_id(params),
                on_epoch=log,
            )
        outputs = predict(start.network, start.val.photos, params.batch_size, params.workers)
        if first:
            finish(params, start, state, outputs, state.spent + time.monotonic() - began)


def finish(
    params: Params, start: Setup, state: loop.State, outputs: Tensor, seconds: float
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
    locator.save(paths.MODEL)
    numbers = summary(params, start, state, locator, outputs, seconds)
    run.write_metrics("train", numbers)
    paths.CHECKPOINT.unlink(missing_ok=True)  # a run that is done is not to be gone on with
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
    params: Params,
    start: Setup,
    state: loop.State,
    locator: Locator,
    outputs: Tensor,
    seconds: float,
) -> dict:
    """The small numbers of a run; the val_ ones are those of the model as it was saved."""
    whole = state.history[-state.epoch :]  # epochs of the whole network, or else the head's
    sizes = start.objective.partition.photos
    loss, accuracy, score = loop.judged(
        start.objective, outputs, start.val, params.decoding, locator.calibration
    )
    return {
        "epochs": len(state.history),
        "best_epoch": state.best_epoch + 1,
        "first_loss": run.number(round(state.first_loss, 4)),
        "ln_classes": round(math.log(len(sizes)), 4),
        "train_loss": run.number(state.history[state.best_epoch].train_loss),
        "val_loss": run.number(loss),
        "val_accuracy": run.number(accuracy),
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
    run.main(train, __doc__)
