"""Fit a network that scores places: a linear probe first, then all of it.

A run writes all of its state to a checkpoint, so that one that was killed goes on as if nothing had
happened; started by torchrun, several processes train as one with the same batches.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from nogps.base.errors import InputError
from nogps.model import distributed
from nogps.model.batches import loader
from nogps.train.head import fit_head
from nogps.train.run import Epoch, Run, State, copied, rate

CHECKPOINT_SECONDS = 300
STEPS_UNSEEN = 50  # after so many the loss is looked at, for which a GPU has to be waited for


def fit(run: Run, *, checkpoint: Path, run_id: str, on_epoch: Callable[[Epoch], None]) -> State:
    """Train the network of `run` in place and leave it as it was in its best epoch.

    The checkpoint is used only if its `run_id` is the same. `on_epoch` is also told of the epochs
    that were done before an interruption.

    Raises:
        InputError: the loss is no longer a number.
    """
    run.resume(checkpoint, run_id)
    state, settings = run.state, run.settings
    for epoch in state.history:
        on_epoch(epoch)
    if not run.ema:
        if settings.pretrained and settings.head_epochs:
            _keep(run, fit_head(run), on_epoch)
        run.ema = copied(run.network)
    with tqdm(
        total=settings.epochs,
        initial=state.epoch,
        desc="train",
        unit="epoch",
        disable=distributed.rank() > 0,
    ) as bar:
        while state.epoch < settings.epochs:
            if 0 <= state.best_epoch < len(state.history) - settings.patience:
                break
            train_loss = _one_epoch(run, lambda: run.save(checkpoint, run_id))
            result = _close_epoch(run, train_loss, on_epoch)
            run.save(checkpoint, run_id)
            bar.update()
            bar.set_postfix(loss=f"{train_loss:.2f}", score=f"{result.val_geoguessr:.0f}")
    run.network.load_state_dict(state.best_model)
    return state


def batches(run: Run, epoch: int) -> list[list[tuple[int, int]]]:
    """The keys of this epoch's photos, in the batches of all processes together.

    Those are alike in size, the least that is not below `batch_size`: no last batch is so small
    that batch norms could not learn from it, and their number does not depend on the processes.
    """
    order = np.random.default_rng((run.settings.seed, epoch)).permutation(run.teaching)
    groups = np.array_split(order, max(1, len(order) // run.settings.batch_size))
    return [[(epoch, int(number)) for number in group] for group in groups]


def _one_epoch(run: Run, save: Callable[[], None]) -> float:
    """The rest of an epoch; the mean loss over all of it."""
    state, everyone = run.state, batches(run, run.state.epoch)
    steps = run.settings.epochs * len(everyone)
    run.train_mode()
    began, saved, before = time.monotonic(), time.monotonic(), state.seconds
    total = torch.tensor(state.loss_sum, dtype=torch.float64, device=run.device)
    for pixels, numbers in _shown(run, everyone):
        done = state.epoch * len(everyone) + state.step
        photos = len(everyone[state.step])
        # Dropout depends on where the run is alone, so that it can go on from anywhere.
        torch.manual_seed(hash((run.settings.seed, done, distributed.rank())) % 2**63)
        run.set_rate(rate(done, steps, run.settings.warmup))
        loss = distributed.summed(run.step(pixels, numbers, photos))
        run.update_ema()
        total += loss * photos
        state.step += 1
        if done == 0:
            state.first_loss = loss.item()
        if state.step % STEPS_UNSEEN == 0 or state.step == len(everyone):
            state.loss_sum = _finite(total.item(), run)
        state.seconds = before + time.monotonic() - began
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            state.loss_sum = _finite(total.item(), run)
            save()
            saved = time.monotonic()
    return state.loss_sum / len(run.teaching)


def _shown(run: Run, everyone: list[list[tuple[int, int]]]) -> tqdm:
    """What is left of an epoch's batches for this process, with a bar of how far it is."""
    mine = [batch[distributed.rank() :: distributed.world()] for batch in everyone]
    return tqdm(
        loader(run.train.photos, mine[run.state.step :], run.workers),
        desc=f"epoch {run.state.epoch + 1}",
        total=len(everyone),
        initial=run.state.step,
        unit="batch",
        leave=False,
        disable=distributed.rank() > 0,
    )


def _finite(loss_sum: float, run: Run) -> float:
    if not math.isfinite(loss_sum):
        raise InputError(
            f"lr: at {run.settings.lr:g} the loss became {loss_sum} in epoch "
            f"{run.state.epoch + 1}; try a tenth of it"
        )
    return loss_sum


def _close_epoch(run: Run, train_loss: float, on_epoch: Callable[[Epoch], None]) -> Epoch:
    """Judge the averaged weights, and go on with those that learn."""
    state, learning = run.state, copied(run.network)
    run.network.load_state_dict(run.ema)
    result = Epoch(
        train_loss,
        *run.validate(),
        lr=run.optimiser.param_groups[-2]["lr"],
        photos=len(run.teaching),
        seconds=state.seconds,
    )
    _keep(run, result, on_epoch)
    run.network.load_state_dict(learning)
    state.epoch, state.step, state.loss_sum, state.seconds = state.epoch + 1, 0, 0.0, 0.0
    return result


def _keep(run: Run, result: Epoch, on_epoch: Callable[[Epoch], None]) -> None:
    """Add an epoch to the history, and its weights if it is the best so far."""
    result = distributed.from_first(result)  # all go on, or stop, by one score
    state = run.state
    state.history.append(result)
    on_epoch(result)
    earlier = [epoch.val_geoguessr for epoch in state.history[:-1]]
    if not earlier or result.val_geoguessr > max(earlier):
        state.best_epoch = len(state.history) - 1
        state.best_model = copied(run.network)
