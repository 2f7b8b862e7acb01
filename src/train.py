"""Stage train: fit the model.

Writes models/model.pt, the curves in metrics/train and metrics/train.json. A run that was
stopped goes on from models/.checkpoint.pt, if parameters, photos and classes are the same.
`torchrun --nproc-per-node 4 src/train.py` trains on four GPUs; docs/gpus.md says more.
"""

import time

from nogps.model import distributed
from nogps.pipeline import paths, run, training
from nogps.pipeline.params import Params
from nogps.train.loop import fit


def train(params: Params) -> None:
    """Fit, keep the best epoch, calibrate, save."""
    began = time.monotonic()
    with distributed.processes() as device:
        first = distributed.rank() == 0
        learning = training.setup(params, device)
        if first:
            print(f"training on {distributed.described(device)}", flush=True)
        with training.curves() as log:
            state = fit(
                learning,
                checkpoint=paths.CHECKPOINT,
                run_id=training.run_id(params),
                on_epoch=log,
            )
        locator, judged = training.calibrate(params, learning)
        if first:
            seconds = state.spent + time.monotonic() - began
            locator.save(paths.MODEL)
            numbers = training.summary(params, learning, locator, judged, seconds)
            run.write_metrics("train", numbers)
            paths.CHECKPOINT.unlink(missing_ok=True)  # a run that is done is not to be gone on with
            print(training.said(numbers, probed=len(state.history) > state.epoch))


if __name__ == "__main__":
    run.main(train, __doc__)
