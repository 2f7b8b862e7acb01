"""Fit a classifier of places: first the head, then the whole network.

A run writes all of its state to a checkpoint, so that one that was killed goes on as if nothing
had happened.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from nogps import geo, images
from nogps.dataset import Photos, loader, predict
from nogps.errors import InputError
from nogps.model import freeze_batch_norm, head_name, write_torch

CHECKPOINT_SECONDS = 300


@dataclass(frozen=True)
class Settings:
    """How to train."""

    epochs: int
    head_epochs: int  # of these, at the start, with only the head learning
    batch_size: int
    lr: float
    weight_decay: float
    patience: int  # epochs without a better validation score before stopping
    workers: int
    seed: int
    keep_batch_norm: bool  # leave the statistics of pretrained batch norms alone


@dataclass(frozen=True)
class Labelled:
    """Photos with what is known of them."""

    photos: Photos
    labels: NDArray[np.int64]  # class of each photo, -1 outside every class
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training photos came to."""

    train_loss: float
    val_loss: float  # over the photos that lie in a class
    val_accuracy: float  # percent of those
    val_geoguessr: float  # mean score over all of them: what decides which epoch is best
    lr: float
    photos: int
    seconds: float


@dataclass
class State:
    """Where a run is."""

    epoch: int = 0
    step: int = 0  # batches of this epoch that are done
    loss_sum: float = 0.0
    seconds: float = 0.0  # of this epoch, before the last interruption
    first_loss: float = math.nan
    best_epoch: int = -1
    best_model: dict[str, Tensor] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)


def fit(
    model: nn.Module,
    train: Labelled,
    val: Labelled,
    points: NDArray[np.float64],
    settings: Settings,
    *,
    checkpoint: Path,
    run_id: str,
    on_epoch: Callable[[Epoch], None],
) -> State:
    """Train `model` in place and leave it as it was in its best epoch.

    `points` holds the latitude and longitude of each class, shape (classes, 2). The checkpoint
    is used only if its `run_id` is the same. `on_epoch` is also told of the epochs that were
    done before an interruption.

    Raises:
        InputError: the loss is no longer a number.
    """
    run = _Run(model, settings)
    state = run.resume(checkpoint, run_id)
    for epoch in state.history:
        on_epoch(epoch)
    with tqdm(total=settings.epochs, initial=state.epoch, desc="train", unit="epoch") as bar:
        while state.epoch < settings.epochs:
            if state.epoch - state.best_epoch > settings.patience and state.best_epoch >= 0:
                break
            train_loss = _one_epoch(run, state, train, lambda: run.save(checkpoint, run_id, state))
            result = _close_epoch(run, state, train_loss, train, val, points)
            on_epoch(result)
            run.save(checkpoint, run_id, state)
            bar.update()
            bar.set_postfix(loss=f"{train_loss:.2f}", score=f"{result.val_geoguessr:.0f}")
    model.load_state_dict(state.best_model)
    return state


class _Run:
    """A model with what trains it."""

    def __init__(self, model: nn.Module, settings: Settings):
        self.settings = settings
        self.device = next(model.parameters()).device
        self.model = model.to(memory_format=torch.channels_last)
        on_gpu = self.device.type == "cuda"
        self.mixed = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else torch.float16
        self.autocast = torch.autocast(self.device.type, self.mixed, enabled=on_gpu)
        self.scaler = torch.amp.GradScaler(enabled=on_gpu and self.mixed is torch.float16)
        self.start_phase(0)

    def start_phase(self, epoch: int) -> None:
        """New optimiser and schedule, for the head alone or for all of the network."""
        head_only = epoch < self.settings.head_epochs
        self.model.requires_grad_(not head_only)
        head = self.model.get_submodule(head_name(self.model)).requires_grad_(True)
        learning = head.parameters() if head_only else self.model.parameters()
        self.optimiser = torch.optim.AdamW(
            learning, lr=self.settings.lr, weight_decay=self.settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimiser, mode="max", factor=0.3, patience=max(self.settings.patience // 2 - 1, 0)
        )

    def train_mode(self) -> None:
        self.model.train()
        if self.settings.keep_batch_norm:
            freeze_batch_norm(self.model)

    def step(self, pixels: Tensor, labels: Tensor) -> float:
        pixels = images.normalise(pixels.to(self.device, non_blocking=True))
        with self.autocast:
            scores = self.model(pixels.contiguous(memory_format=torch.channels_last))
            loss = cross_entropy(scores.float(), labels.to(self.device))
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return loss.item()

    def save(self, path: Path, run_id: str, state: State) -> None:
        content = {
            "run_id": run_id,
            "state": {**vars(state), "history": [asdict(epoch) for epoch in state.history]},
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
            "random_gpu": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        write_torch(path, content)

    def resume(self, path: Path, run_id: str) -> State:
        content = _read_checkpoint(path)
        if content.get("run_id") != run_id:
            return State()
        values = content["state"]
        state = State(**{**values, "history": [Epoch(**epoch) for epoch in values["history"]]})
        # A checkpoint made at the end of the last head epoch belongs to the next phase already.
        self.start_phase(state.epoch)
        self.model.load_state_dict(content["model"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.schedule.load_state_dict(content["schedule"])
        self.scaler.load_state_dict(content["scaler"])
        torch.set_rng_state(content["random"])
        if content["random_gpu"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(content["random_gpu"])
        return state


def _read_checkpoint(path: Path) -> dict:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return {}
    except Exception:  # written by another version, or not a checkpoint: start again
        return {}


def _one_epoch(run: _Run, state: State, train: Labelled, save: Callable[[], None]) -> float:
    """The rest of an epoch; the mean loss over all of it."""
    inside = np.flatnonzero(train.labels >= 0)
    order = np.random.default_rng((run.settings.seed, state.epoch)).permutation(inside)
    keys = [(state.epoch, int(number)) for number in order]
    size = run.settings.batch_size
    batches = [keys[start : start + size] for start in range(0, len(keys), size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2] += batches.pop()  # batch norm cannot learn from one photo
    labels = torch.from_numpy(train.labels)
    run.train_mode()
    began, saved, before = time.monotonic(), time.monotonic(), state.seconds
    bar = tqdm(
        loader(train.photos, batches[state.step :], run.settings.workers),
        desc=f"epoch {state.epoch + 1}",
        total=len(batches),
        initial=state.step,
        unit="batch",
        leave=False,
    )
    for pixels, numbers in bar:
        loss = run.step(pixels, labels[numbers])
        if not math.isfinite(loss):
            raise InputError(
                f"lr: at {run.settings.lr:g} the loss became {loss} in epoch {state.epoch + 1}; "
                "try a tenth of it"
            )
        if math.isnan(state.first_loss):
            state.first_loss = loss
        state.loss_sum += loss * len(numbers)
        state.step += 1
        state.seconds = before + time.monotonic() - began
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            save()
            saved = time.monotonic()
    return state.loss_sum / len(order)


def _close_epoch(
    run: _Run,
    state: State,
    train_loss: float,
    train: Labelled,
    val: Labelled,
    points: NDArray[np.float64],
) -> Epoch:
    result = Epoch(
        train_loss,
        *validate(run.model, val, points, run.settings),
        lr=run.optimiser.param_groups[0]["lr"],
        photos=int(np.count_nonzero(train.labels >= 0)),
        seconds=state.seconds,
    )
    state.history.append(result)
    earlier = [epoch.val_geoguessr for epoch in state.history[:-1]]
    if not earlier or result.val_geoguessr > max(earlier):
        state.best_epoch = state.epoch
        state.best_model = {
            name: value.detach().cpu().clone() for name, value in run.model.state_dict().items()
        }
    run.schedule.step(result.val_geoguessr)
    state.epoch, state.step, state.loss_sum, state.seconds = state.epoch + 1, 0, 0.0, 0.0
    if state.epoch == run.settings.head_epochs:
        run.start_phase(state.epoch)
    return result


def validate(
    model: nn.Module, val: Labelled, points: NDArray[np.float64], settings: Settings
) -> tuple[float, float, float]:
    """Loss and accuracy (percent) over photos in a class, mean GeoGuessr score over all."""
    scores = predict(model, val.photos, settings.batch_size, settings.workers)
    guess = scores.argmax(dim=1).numpy()
    inside = np.flatnonzero(val.labels >= 0)
    loss = accuracy = math.nan
    if len(inside):
        labels = torch.from_numpy(val.labels[inside])
        loss = cross_entropy(scores[inside], labels).item()
        accuracy = float(100 * (guess[inside] == val.labels[inside]).mean())
    distance = geo.distance_km(val.latitude, val.longitude, *points[guess].T)
    return loss, accuracy, float(geo.geoguessr_score(distance).mean())
