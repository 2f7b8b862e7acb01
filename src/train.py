"""Stage train: fit the model.

Writes models/model.pt, the curves in metrics/train and metrics/train.json. A run that was
stopped goes on from models/.checkpoint.pt, if parameters, photos and classes are the same.
`torchrun --nproc-per-node 4 src/train.py` trains on four GPUs; docs/gpus.md says more.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from dvclive.live import Live

from nogps.model import distributed
from nogps.model.batches import predict
from nogps.model.decode import places_of
from nogps.model.locator import Locator
from nogps.pipeline import paths, run, training
from nogps.pipeline.params import Params
from nogps.train.head import fit_head
from nogps.train.run import Epoch, Run

CURVES = ("train_loss", "val_loss", "val_accuracy", "val_geoguessr", "lr")


def train(params: Params) -> None:
    """Fit, keep the best epoch, calibrate, save."""
    began = time.monotonic()
    with distributed.processes() as device:
        first = distributed.rank() == 0
        learning = training.setup(params, device)
        if first:
            print(f"training on {distributed.described(device)}", flush=True)
        with curves() as log:
            learning.fit(paths.CHECKPOINT, training.run_id(params), log, fit_head)
        state, val = learning.state, learning.val
        outputs = predict(learning.network, val.photos, params.batch_size)
        learning.network.cpu()
        owners = places_of(val.owner)
        locator = learning.locator.calibrated(outputs, val.latitude, val.longitude, owners)
        judged = locator.judge(outputs, val)
        if first:
            hours = (state.spent + time.monotonic() - began) / 3600
            locator.save(paths.MODEL)
            numbers = summary(learning, locator, judged)
            bill = {"hours": round(hours, 4), "dollars": round(hours * params.usd_per_hour, 4)}
            run.write_metrics("train", **numbers, **bill)
            paths.CHECKPOINT.unlink(missing_ok=True)  # a run that is done is not to be gone on with
            print(said(numbers, probed=len(state.history) > state.epoch))


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


def summary(learning: Run, locator: Locator, judged: tuple[float, float, float]) -> dict[str, Any]:
    """The small numbers of a run; the val_ ones, `judged`, are of the locator as it was saved."""
    state, sizes = learning.state, locator.partition.photos
    whole = state.history[-state.epoch :]  # epochs of the whole network, or else the head's
    photos = sum(epoch.photos for epoch in whole)
    loss, accuracy, score = judged
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
        "parameters": sum(parameter.numel() for parameter in learning.network.parameters()),
        "seconds": round(sum(epoch.seconds for epoch in state.history), 1),
        "photos_per_second": round(photos / sum(epoch.seconds for epoch in whole), 1),
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


if __name__ == "__main__":
    run.main(train, __doc__)
