"""Find a learning rate: train a few hundred steps while it grows, and draw the loss against it.

Trains as `train` would begin, at rates from --from to --to, and ends early where the loss
explodes. Writes metrics/lr_range.csv and metrics/lr_range.png; the model is not kept.
"""

import argparse
import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from nogps.base.errors import InputError
from nogps.base.files import replacing
from nogps.model.batches import loader
from nogps.pipeline import paths, training
from nogps.pipeline.params import read_params
from nogps.train import lr_range
from nogps.train.head import fit_head
from nogps.train.run import Run

CSV = paths.METRICS / "lr_range.csv"
PNG = paths.METRICS / "lr_range.png"


def range_test(low: float, high: float, steps: int) -> None:
    """Train, draw, suggest."""
    if not 0 < low < high < float("inf") or steps < 20:
        raise InputError("--from, --to, --steps: take 0 < from < to, and 20 steps or more")
    params = read_params()
    run = training.setup(params, "cuda" if torch.cuda.is_available() else "cpu")
    if params.pretrained and params.head_epochs:
        fit_head(run)  # `lr` is of what comes after
    rates = np.geomspace(low, high, steps)
    losses = lr_range.losses(run, tqdm(batches(run, steps), total=steps), rates)
    curve = pd.DataFrame({"lr": rates[: len(losses)], "loss": losses})
    curve["smoothed"] = lr_range.smoothed(losses, steps)
    with replacing(CSV) as path:
        curve.to_csv(path, index=False)
    figure = plot(curve)
    try:
        steepest, tenth = lr_range.suggest(rates, curve["smoothed"].to_numpy())
        mark(figure, steepest, tenth)
    finally:  # where there is nothing to suggest, the curve shows why
        with replacing(PNG) as path:
            figure.savefig(path, format="png", dpi=100)
    print(f"the loss falls fastest at {steepest:.2g}")
    print(f"a tenth of where it is lowest: {tenth:.2g}, which is suggested; see {PNG}")
    print(f"\ndvc exp run -S lr={tenth:.2g}")


def batches(run: Run, steps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """As many batches as there are steps, from as many epochs as that takes."""
    keys: list = []
    epoch = 0
    while len(keys) < steps:
        keys += run.batches(epoch)
        epoch += 1
    yield from loader(run.train.photos, keys[:steps])


def plot(curve: pd.DataFrame) -> Figure:
    """Loss against rate."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="learning rate (lr)", ylabel="loss")
    axes.plot(curve["lr"], curve["loss"], color="0.8", label="each step")
    axes.plot(curve["lr"], curve["smoothed"], color="C0", label="smoothed")
    low, start = curve["smoothed"].min(), curve["smoothed"].iloc[0]
    margin = max(start - low, 0.1 * start)
    axes.set_ylim(max(0, low - 0.3 * margin), start + margin)
    axes.legend()
    return figure


def mark(figure: Figure, steepest: float, tenth: float) -> None:
    """Draw both suggestions."""
    (axes,) = figure.axes
    axes.axvline(tenth, color="C3", label=f"{tenth:.2g}: a tenth of the lowest")
    axes.axvline(steepest, color="C3", ls=":", label=f"{steepest:.2g}: steepest")
    axes.set_title(f"suggested: lr {tenth:.2g}")
    axes.legend()


def main(argv: list[str] | None = None) -> None:
    """Run `nogps lr-range`; what the user did wrong comes out as one sentence."""
    parser = argparse.ArgumentParser(
        prog="nogps lr-range",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--from", type=float, default=1e-7, dest="low", help="lowest rate (1e-7)")
    parser.add_argument("--to", type=float, default=1.0, dest="high", help="highest rate (1)")
    parser.add_argument("--steps", type=int, default=300, help="at most (300)")
    arguments = parser.parse_args(argv)
    try:
        range_test(arguments.low, arguments.high, arguments.steps)
    except InputError as error:
        sys.exit(f"nogps lr-range: {error}")
    except FileNotFoundError as error:
        missing = error.filename
        sys.exit(f"nogps lr-range: {missing} is not there; `dvc repro cells` makes what is missing")
    except KeyboardInterrupt:
        sys.exit("nogps lr-range: stopped")


if __name__ == "__main__":
    main()
