"""Find a learning rate: train a little while it grows, and see where the loss falls.

Smith, "Cyclical Learning Rates for Training Neural Networks" (WACV 2017), section 3.3.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from nogps.base.errors import InputError
from nogps.train.run import Run

DIVERGED = 4.0  # the test ends where the running loss is so many times its lowest
MEMORY = 0.9  # of the running loss, a step
WIDTH = 0.02  # of the smoothing, as a share of the steps: standard deviation
LEAST_FALL = 0.02  # a loss that falls by a smaller share has not fallen


def losses(
    run: Run, batches: Iterable[tuple[Tensor, Tensor]], rates: NDArray[np.float64]
) -> NDArray[np.float64]:
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


def smoothed(losses: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Losses averaged over their neighbours, of a test that was to take so many steps.

    Unlike a running mean this does not lag, which would show the rates as better than they are.
    """
    bounded = np.minimum(losses, DIVERGED * np.median(losses))  # one explosion hides the rest
    return gaussian_filter1d(bounded, max(WIDTH * steps, 1.0), mode="nearest")


def suggest(rates: NDArray[np.float64], smooth: NDArray[np.float64]) -> tuple[float, float]:
    """The rate at which a smoothed curve (n,) falls fastest, a tenth of that where it is lowest.

    InputError if the loss does not fall, or still falls at the highest of the rates (n or more,).
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
    return float(rates[int(slope.argmin())]), float(rates[bottom] / 10)
