"""Find a learning rate: train a few hundred steps while it grows, and draw the loss against it.

Trains as `train` would begin, at rates from --from to --to, and ends early where the loss
explodes. Writes metrics/lr_range.csv and metrics/lr_range.png; the model is not kept.

Smith, "Cyclical Learning Rates for Training Neural Networks" (WACV 2017), section 3.3.
"""

import math
from argparse import ArgumentParser
from collections.abc import Iterable
from itertools import chain, count, islice

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from tqdm import tqdm

from nogps.base.errors import InputError
from nogps.base.files import replacing
from nogps.model.batches import loader
from nogps.model.guess import Floats
from nogps.pipeline import paths, training
from nogps.pipeline.params import read_params
from nogps.train.head import fit_head
from nogps.train.run import Run

CSV = paths.METRICS / "lr_range.csv"
PNG = paths.METRICS / "lr_range.png"
DIVERGED = 4.0  # the test ends where the running loss is so many times its lowest
MEMORY = 0.9  # of the running loss, a step
WIDTH = 0.02  # of the smoothing, as a share of the steps: standard deviation
LEAST_FALL = 0.02  # a loss that falls by a smaller share has not fallen


def add_arguments(parser: ArgumentParser) -> None:
    """What `nogps lr-range` takes."""
    add = parser.add_argument
    add("--from", type=float, default=1e-7, dest="low", help="lowest rate (1e-7)")
    add("--to", type=float, default=1.0, dest="high", help="highest rate (1)")
    add("--steps", type=int, default=300, help="at most (300)")


def main(low: float, high: float, steps: int) -> None:
    """Train, draw, suggest."""
    if not 0 < low < high < float("inf") or steps < 20:
        raise InputError("--from, --to, --steps: take 0 < from < to, and 20 steps or more")
    params = read_params()
    run = training.setup(params, "cuda" if torch.cuda.is_available() else "cpu")
    if params.pretrained and params.head_epochs:
        fit_head(run)  # `lr` is of what comes after
    keys = chain.from_iterable(map(run.batches, count()))
    batches = loader(run.train.photos, list(islice(keys, steps)))
    rates = np.geomspace(low, high, steps)
    loss = losses(run, tqdm(batches, total=steps), rates)
    smooth = smoothed(loss, steps)
    curve = pd.DataFrame({"lr": rates[: len(loss)], "loss": loss, "smoothed": smooth})
    with replacing(CSV) as path:
        curve.to_csv(path, index=False)
    plot(curve, [])
    steepest, tenth = suggest(rates, smooth)
    plot(curve, [(tenth, "-", "a tenth of the lowest"), (steepest, ":", "steepest")])
    print(f"the loss falls fastest at {steepest:.2g}")
    print(f"a tenth of where it is lowest: {tenth:.2g}, which is suggested; see {PNG}")
    print(f"\ndvc exp run -S lr={tenth:.2g}")


def plot(curve: pd.DataFrame, suggested: list[tuple[float, str, str]]) -> None:
    """Draw loss against rate, and each suggested rate, the best first, with its line and name."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="learning rate (lr)", ylabel="loss")
    axes.plot(curve["lr"], curve["loss"], color="0.8", label="each step")
    axes.plot(curve["lr"], curve["smoothed"], color="C0", label="smoothed")
    low, start = curve["smoothed"].min(), curve["smoothed"].iloc[0]
    margin = max(start - low, 0.1 * start)
    axes.set_ylim(max(0, low - 0.3 * margin), start + margin)
    for rate, line, name in suggested:
        axes.axvline(rate, color="C3", ls=line, label=f"{rate:.2g}: {name}")
    if suggested:
        axes.set_title(f"suggested: lr {suggested[0][0]:.2g}")
    axes.legend()
    with replacing(PNG) as path:
        figure.savefig(path, format="png", dpi=100)


def losses(run: Run, batches: Iterable[tuple[Tensor, Tensor]], rates: Floats) -> Floats:
    """The loss at each rate, a step each; shorter than `rates` if it diverges before the last."""
    seen: list[float] = []
    running, lowest = 0.0, math.inf
    run.train_mode()
    # A pretrained network's head has a rate of its own, which does not grow with `lr`.
    groups = run.optimiser.param_groups[: -1 if run.settings.pretrained else None]
    for rate, (pixels, numbers) in zip(rates, batches, strict=False):
        for group in groups:
            group["lr"] = rate * group["scale"]
        loss = float(run.step(pixels, numbers))
        if not math.isfinite(loss):
            break
        seen.append(loss)
        running = MEMORY * running + (1 - MEMORY) * loss
        average = running / (1 - MEMORY ** len(seen))
        if average > DIVERGED * lowest:
            break
        lowest = min(lowest, average)
    return np.array(seen)


def smoothed(losses: Floats, steps: int) -> Floats:
    """Losses averaged over their neighbours, of a test that was to take so many steps.

    Unlike a running mean this does not lag, which would show the rates as better than they are.
    """
    bounded = np.minimum(losses, DIVERGED * np.median(losses))  # one explosion hides the rest
    return gaussian_filter1d(bounded, max(WIDTH * steps, 1.0), mode="nearest")


def suggest(rates: Floats, smooth: Floats) -> tuple[float, float]:
    """The rate at which the loss falls fastest, and a tenth of the one at which it is lowest.

    Of a smoothed curve, shape (n,), of a test at `rates`, shape (n or more,). InputError: the loss
    does not fall, or it still falls at the highest rate.
    """
    if len(smooth) < 3 or smooth.min() > (1 - LEAST_FALL) * smooth[0]:
        raise InputError(
            f"--steps: between {rates[0]:.2g} and {rates[-1]:.2g} the loss falls by less than "
            f"{LEAST_FALL:.0%}, too little to choose a rate by; take more, or judge by the curve"
        )
    bottom = int(smooth.argmin())
    if bottom == len(rates) - 1:
        raise InputError(f"--to: the loss still falls at {rates[-1]:.2g}; go higher")
    slope = np.gradient(smooth[: bottom + 1])
    return float(rates[slope.argmin()]), float(rates[bottom] / 10)
