from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nogps.base.errors import InputError
from nogps.train import lr_range

RATES = np.geomspace(1e-7, 1, 300)


def curve(falls_at: float, rises_at: float) -> np.ndarray:
    """A loss of 4 that falls to 1 around one rate and explodes after another, without noise."""
    place = np.log10(RATES)
    fall = 3 / (1 + np.exp(-6 * (place - np.log10(falls_at))))
    return 4 - fall + np.exp(8 * (place - np.log10(rises_at)))


class Run:
    """Stands in for training: a loss that is known at each rate."""

    def __init__(self, loss, pretrained=False):
        self.loss = loss
        self.rates = []
        self.settings = SimpleNamespace(pretrained=pretrained)
        groups = [{"lr": 0.0, "scale": 1.0}, {"lr": 0.0, "scale": 0.1}]
        self.optimiser = SimpleNamespace(param_groups=groups)

    def train_mode(self):
        pass

    def step(self, pixels, numbers):
        self.rates.append([group["lr"] for group in self.optimiser.param_groups])
        return torch.tensor(self.loss(self.rates[-1][0]))


def batches(count: int = 10**6):
    return ((None, None) for _ in range(count))


def test_each_group_keeps_its_share_of_the_rate():
    run = Run(lambda rate: 1.0)
    assert len(lr_range.losses(run, batches(), RATES)) == 300
    assert np.array(run.rates) == pytest.approx(np.stack([RATES, 0.1 * RATES], axis=1))


def test_the_head_of_a_pretrained_network_keeps_its_own_rate():
    run = Run(lambda rate: 1.0, pretrained=True)
    run.optimiser.param_groups[-1]["lr"] = 0.5
    lr_range.losses(run, batches(), RATES)
    assert np.array(run.rates) == pytest.approx(np.stack([RATES, np.full(300, 0.5)], axis=1))


def test_the_test_ends_where_the_loss_explodes():
    run = Run(lambda rate: 2.0 if rate < 1e-3 else 2000 * rate)
    losses = lr_range.losses(run, batches(), RATES)
    last = RATES[len(losses) - 1]
    # It takes a few steps until a running loss has quadrupled, at 43 steps a decade.
    assert 4e-3 < last < 1.2e-2
    assert losses[-1] == pytest.approx(2000 * last)


def test_one_bad_batch_does_not_end_it():
    run = Run(lambda rate: 40.0 if len(run.rates) == 100 else 2.0)
    assert len(lr_range.losses(run, batches(), RATES)) == 300


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_a_number_ends_it_and_is_not_kept(bad):
    run = Run(lambda rate: 2.0 if rate < 1e-3 else bad)
    losses = lr_range.losses(run, batches(), RATES)
    assert len(losses) == np.count_nonzero(RATES < 1e-3)
    assert np.isfinite(losses).all()


@given(falls_at=st.floats(-5.5, -3), gap=st.floats(1.2, 2.5), seed=st.integers(0, 99))
def test_both_suggestions_are_where_the_curve_was_made_to_have_them(falls_at, gap, seed):
    falls_at, rises_at = 10**falls_at, 10 ** (falls_at + gap)
    exact = curve(falls_at, rises_at)
    noisy = exact * np.random.default_rng(seed).normal(1, 0.03, size=len(exact))
    ended = noisy[: np.argmax(exact > 16) or None]
    steepest, tenth = lr_range.suggest(RATES, lr_range.smoothed(ended, len(RATES)))
    # Within half a decade, of the seven that were tried.
    assert abs(np.log10(steepest / falls_at)) < 0.5
    assert abs(np.log10(10 * tenth / RATES[exact.argmin()])) < 0.5


def test_smoothing_neither_lags_nor_leads():
    losses = np.where(np.arange(300) < 150, 4.0, 1.0)
    smooth = lr_range.smoothed(losses, 300)
    assert np.argmin(np.abs(smooth - 2.5)) in (149, 150)
    assert smooth[[0, -1]] == pytest.approx([4, 1])


def test_without_a_fall_there_is_no_suggestion():
    flat = np.full(300, 4.0)
    with pytest.raises(
        InputError, match="--steps: between 1e-07 and 1 the loss falls by less than 2%"
    ):
        lr_range.suggest(RATES, flat)
    with pytest.raises(InputError, match="--steps"):
        lr_range.suggest(RATES, flat[:1])
    with pytest.raises(InputError, match="--to: the loss still falls at 1; go higher"):
        lr_range.suggest(RATES, np.linspace(4, 1, 300))
    # It fell until it exploded, as the test ended early.
    assert lr_range.suggest(RATES, np.linspace(4, 1, 200))[1] == RATES[199] / 10
