"""Fit a network that scores places: first its head, on features computed once, then all of it.

Kumar et al., "Fine-Tuning can Distort Pretrained Features" (ICLR 2022), say why in that order. A
run writes all of its state to a checkpoint, so that one that was killed goes on as if nothing had
happened; started by torchrun, several processes train as one with the same batches.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, RandomSampler
from tqdm import tqdm

from nogps.base.errors import InputError
from nogps.earth import geo
from nogps.model import distributed, objectives, tensors
from nogps.model.backbones import features, freeze_batch_norm, head_name, write_torch
from nogps.model.batches import Photos, loader, of_each, predict
from nogps.model.decode import place
from nogps.model.guess import Calibration
from nogps.model.locator import log_probabilities
from nogps.model.objectives import Softmax

CHECKPOINT_SECONDS = 300
BANDS = 8  # groups of layers that learn at rates of their own
HEAD_BATCH = 256
STEPS_UNSEEN = 50  # after so many the loss is looked at, for which a GPU has to be waited for


@dataclass(frozen=True)
class Settings:
    """How to train."""

    epochs: int  # of the whole network
    head_epochs: int  # before them, of the head alone
    batch_size: int  # of all processes together
    lr: float  # of the last layers before the head
    head_lr: float  # of the head
    first_layers_lr: float  # of the first layers, as a share of `lr`; in between it falls evenly
    warmup: float  # share of the steps in which the rate rises; then it falls as a cosine
    weight_decay: float  # of the whole network
    head_weight_decay: float  # of the head while it learns alone
    averaging: float  # weights are averaged over about 1 / (1 - averaging) steps; 0: they are not
    start_share: float  # of the weights before the whole network learned, in the final ones
    class_balance: float  # 0: each photo counts alike; 1: each class
    patience: int  # epochs without a better validation score before stopping
    workers: int
    seed: int
    pretrained: bool
    precision: str  # auto | bf16 | fp32
    decoding: str  # how validation turns probabilities into a place


@dataclass(frozen=True)
class Labelled:
    """Photos and where they were taken, in degrees."""

    photos: Photos
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    owner: NDArray[np.object_]


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training photos came to."""

    train_loss: float
    val_loss: float  # negative log probability of the right class, over the photos in a class
    val_accuracy: float  # percent of those
    val_geoguessr: float  # mean score over all of them: what decides which epoch is best
    lr: float  # at its end
    photos: int
    seconds: float


@dataclass
class State:
    """Where a run is."""

    epoch: int = 0  # of the whole network
    step: int = 0  # batches of this epoch that are done
    loss_sum: float = 0.0
    seconds: float = 0.0  # of this epoch, before the last interruption
    spent: float = 0.0  # seconds of the whole run, up to the last interruption's checkpoint
    first_loss: float = math.nan
    best_epoch: int = -1  # in the history
    best_model: dict[str, Tensor] = field(default_factory=dict)
    start: dict[str, Tensor] = field(default_factory=dict)  # before the whole network learned
    history: list[Epoch] = field(default_factory=list)  # the head's one entry first, if it has any


def fit(
    model: nn.Module,
    objective: Softmax,
    train: Labelled,
    val: Labelled,
    settings: Settings,
    *,
    checkpoint: Path,
    run_id: str,
    on_epoch: Callable[[Epoch], None],
) -> State:
    """Train `model` in place and leave it as it was in its best epoch.

    The checkpoint is used only if its `run_id` is the same. `on_epoch` is also told of the epochs
    that were done before an interruption.

    Raises:
        InputError: the loss is no longer a number, or no photo teaches anything.
    """
    run = Run(model, train, settings, objective)
    state = run.resume(checkpoint, run_id)
    for epoch in state.history:
        on_epoch(epoch)
    if not state.start:
        if settings.pretrained and settings.head_epochs:
            _keep(run, state, fit_head(run, train, val), on_epoch)
        state.start = _copied(run.model)
        run.averaged = _copied(run.model)
    with tqdm(
        total=settings.epochs, initial=state.epoch, desc="train", unit="epoch", disable=_quiet()
    ) as bar:
        while state.epoch < settings.epochs:
            if 0 <= state.best_epoch < len(state.history) - settings.patience:
                break
            train_loss = _one_epoch(run, state, train, lambda: run.save(checkpoint, run_id, state))
            result = _close_epoch(run, state, train_loss, val, on_epoch)
            run.save(checkpoint, run_id, state)
            bar.update()
            bar.set_postfix(loss=f"{train_loss:.2f}", score=f"{result.val_geoguessr:.0f}")
    share = settings.start_share if settings.pretrained else 0.0
    model.load_state_dict(mixed(state.start, state.best_model, share))
    return state


class Run:
    """A model with what trains it."""

    def __init__(self, model: nn.Module, train: Labelled, settings: Settings, objective: Softmax):
        self.settings = settings
        self.device = next(model.parameters()).device
        self.model = model.to(memory_format=torch.channels_last)
        self.objective = objective.to(self.device)
        self.targets = objective.targets(train.latitude, train.longitude)
        self.teaching = np.flatnonzero(objective.teaches(self.targets).numpy())
        if not len(self.teaching):
            raise InputError("loss: no train photo lies in any class; lower cells.min_photos")
        labels = np.asarray(objective.partition.assign(train.latitude, train.longitude))
        self.weights = objectives.class_weights(
            objective.partition.photos, labels, settings.class_balance
        )
        on_gpu = self.device.type == "cuda"
        half = (
            torch.bfloat16
            if not on_gpu or torch.cuda.is_bf16_supported(including_emulation=False)
            else torch.float16
        )
        lower = settings.precision == "bf16" or (settings.precision == "auto" and on_gpu)
        self.autocast = torch.autocast(self.device.type, half, enabled=lower)
        self.scaler = torch.amp.GradScaler(enabled=lower and half is torch.float16)
        groups = parameter_groups(model, settings)
        self.optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        self.averaged: dict[str, Tensor] = {}
        self.steps = 0
        self.began = time.monotonic()

    @cached_property
    def trained(self) -> nn.Module:
        """The model, its gradients averaged over the processes."""
        if distributed.world() == 1:
            return self.model
        if not self.settings.pretrained:
            distributed.share_batch_norm(self.model)
        return DistributedDataParallel(self.model)

    def train_mode(self) -> None:
        """As for learning; the statistics of pretrained batch norms stay as they are."""
        self.model.train()
        if self.settings.pretrained:
            freeze_batch_norm(self.model)

    def step(self, pixels: Tensor, numbers: Tensor, photos: int | None = None) -> Tensor:
        """Learn from a batch of uint8 pixels and the numbers of its photos; its loss.

        `photos` says how many the batch has over all processes.
        """
        share = distributed.world() / (photos or len(numbers))
        pixels = tensors.normalise(pixels.to(self.device, non_blocking=True))
        targets = self.targets[numbers].to(self.device, non_blocking=True)
        weights = self.weights[numbers].to(self.device, non_blocking=True)
        with self.autocast:
            outputs = self.trained(pixels.contiguous(memory_format=torch.channels_last))
        loss = (self.objective(outputs.float(), targets) * weights).sum() * share
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return loss.detach() / distributed.world()

    def set_rate(self, share: float) -> None:
        """Every rate at a share of its highest."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["scale"] * self.settings.lr * share

    def average(self) -> None:
        """Move the averaged weights a little toward those of now."""
        self.steps += 1
        # Young averages are short, lest they remember the start.
        keep = min(self.settings.averaging, (1 + self.steps) / (10 + self.steps))
        for name, value in self.model.state_dict().items():
            if value.dtype.is_floating_point and self.settings.averaging:
                self.averaged[name].lerp_(value, 1 - keep)
            else:
                self.averaged[name].copy_(value)

    def save(self, path: Path, run_id: str, state: State) -> None:
        """Write everything that `resume` needs."""
        if distributed.rank():
            return
        history = [asdict(epoch) for epoch in state.history]
        spent = state.spent + time.monotonic() - self.began
        content = {
            "run_id": run_id,
            "state": {**vars(state), "history": history, "spent": spent},
            "model": self.model.state_dict(),
            "averaged": self.averaged,
            "steps": self.steps,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        write_torch(path, content)

    def resume(self, path: Path, run_id: str) -> State:
        """Go back to where the checkpoint was written; to the beginning if it is another run's.

        Raises:
            InputError: not all processes would train the same.
        """
        if len(set(distributed.gathered([run_id]))) > 1:
            raise InputError(
                "params.yaml, photos or classes differ between the machines; bring all of them to "
                "one commit and `dvc pull` there"
            )
        # Of several machines only the first may have it.
        content = distributed.from_first({} if distributed.rank() else _read_checkpoint(path))
        if content.get("run_id") != run_id:
            return State()
        values = content["state"]
        self.model.load_state_dict(content["model"])
        self.averaged = {name: value.to(self.device) for name, value in content["averaged"].items()}
        self.steps = content["steps"]
        self.optimiser.load_state_dict(content["optimiser"])
        self.scaler.load_state_dict(content["scaler"])
        return State(**{**values, "history": [Epoch(**epoch) for epoch in values["history"]]})


def parameter_groups(model: nn.Module, settings: Settings) -> list[dict]:
    """The layers in bands from the first to the head, each with its rate.

    The group's `scale` times `lr` is its highest rate. Without pretrained weights all are `lr`.
    """
    head = set(model.get_submodule(head_name(model)).parameters())
    body = [each for each in model.parameters() if each not in head]
    edges = np.linspace(0, len(body), BANDS + 1).astype(int)
    groups = []
    for band in range(BANDS):
        scale = settings.first_layers_lr ** (1 - band / (BANDS - 1)) if settings.pretrained else 1.0
        groups.append({"params": body[edges[band] : edges[band + 1]], "scale": scale})
    scale = settings.head_lr / settings.lr if settings.pretrained else 1.0
    groups.append({"params": list(head), "scale": scale})
    return [{**group, "lr": group["scale"] * settings.lr} for group in groups if group["params"]]


def batches(run: Run, epoch: int) -> list[list[tuple[int, int]]]:
    """The keys of this epoch's photos, in the batches of all processes together.

    Those are alike in size, the least that is not below `batch_size`: no last batch is so small
    that batch norms could not learn from it, and their number does not depend on the processes.
    """
    order = np.random.default_rng((run.settings.seed, epoch)).permutation(run.teaching)
    groups = np.array_split(order, max(1, len(order) // run.settings.batch_size))
    return [[(epoch, int(number)) for number in group] for group in groups]


def rate(step: int, steps: int, warmup: float) -> float:
    """Share of the highest rate at a step: it rises in a line, then falls as half a cosine."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _one_epoch(run: Run, state: State, train: Labelled, save: Callable[[], None]) -> float:
    """The rest of an epoch; the mean loss over all of it."""
    everyone = batches(run, state.epoch)
    mine = [batch[distributed.rank() :: distributed.world()] for batch in everyone]
    steps = run.settings.epochs * len(everyone)
    run.train_mode()
    began, saved, before = time.monotonic(), time.monotonic(), state.seconds
    bar = tqdm(
        loader(train.photos, mine[state.step :], run.settings.workers),
        desc=f"epoch {state.epoch + 1}",
        total=len(everyone),
        initial=state.step,
        unit="batch",
        leave=False,
        disable=_quiet(),
    )
    total = torch.tensor(state.loss_sum, dtype=torch.float64, device=run.device)
    for pixels, numbers in bar:
        done = state.epoch * len(everyone) + state.step
        photos = len(everyone[state.step])
        # Dropout depends on where the run is alone, so that it can go on from anywhere.
        torch.manual_seed(hash((run.settings.seed, done, distributed.rank())) % 2**63)
        run.set_rate(rate(done, steps, run.settings.warmup))
        loss = distributed.summed(run.step(pixels, numbers, photos))
        run.average()
        total += loss * photos
        state.step += 1
        if done == 0:
            state.first_loss = loss.item()
        if state.step % STEPS_UNSEEN == 0 or state.step == len(everyone):
            state.loss_sum = _finite(total.item(), run, state)
        state.seconds = before + time.monotonic() - began
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            state.loss_sum = _finite(total.item(), run, state)
            save()
            saved = time.monotonic()
    return state.loss_sum / len(run.teaching)


def _finite(loss_sum: float, run: Run, state: State) -> float:
    if not math.isfinite(loss_sum):
        raise InputError(
            f"lr: at {run.settings.lr:g} the loss became {loss_sum} in epoch {state.epoch + 1}; "
            "try a tenth of it"
        )
    return loss_sum


def _close_epoch(
    run: Run, state: State, train_loss: float, val: Labelled, on_epoch: Callable[[Epoch], None]
) -> Epoch:
    learning = _copied(run.model)
    run.model.load_state_dict(run.averaged)
    result = Epoch(
        train_loss,
        *validate(run, val),
        lr=run.optimiser.param_groups[-2]["lr"],
        photos=len(run.teaching),
        seconds=state.seconds,
    )
    _keep(run, state, result, on_epoch)
    run.model.load_state_dict(learning)
    state.epoch, state.step, state.loss_sum, state.seconds = state.epoch + 1, 0, 0.0, 0.0
    return result


def _keep(run: Run, state: State, result: Epoch, on_epoch: Callable[[Epoch], None]) -> None:
    result = distributed.from_first(result)  # all go on, or stop, by one score
    state.history.append(result)
    on_epoch(result)
    earlier = [epoch.val_geoguessr for epoch in state.history[:-1]]
    if not earlier or result.val_geoguessr > max(earlier):
        state.best_epoch = len(state.history) - 1
        state.best_model = _copied(run.model)


def fit_head(run: Run, train: Labelled, val: Labelled) -> Epoch:
    """Train the head alone, on features of the whole photos that are computed once.

    It ends as it was when the loss of the validation photos was least.
    """
    head = run.model.get_submodule(head_name(run.model))
    if not isinstance(head, nn.Linear):
        raise InputError("head_epochs: this backbone's head is no linear layer; set it to 0")
    settings = run.settings
    began = time.monotonic()
    known, unknown = (_features(run, fold.photos) for fold in (train, val))
    known = known[run.teaching]
    mean, scale = known.mean(dim=0), known.std(dim=0).mean()
    known, unknown = ((each - mean) / scale for each in (known, unknown))
    known = known.to(run.device)
    linear = nn.Linear(head.in_features, head.out_features).to(run.device)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    targets, weights = run.targets[run.teaching], run.weights[run.teaching]
    optimiser = torch.optim.AdamW(
        linear.parameters(), lr=settings.head_lr, weight_decay=settings.head_weight_decay
    )
    data = BatchSampler(
        RandomSampler(known, generator=torch.Generator().manual_seed(settings.seed)),
        HEAD_BATCH,
        drop_last=False,
    )
    steps, best, best_linear, train_loss = settings.head_epochs * len(data), math.inf, linear, 0.0
    bar = tqdm(range(settings.head_epochs), desc="head", unit="epoch", disable=_quiet())
    for epoch in bar:
        total = 0.0
        for step, numbers in enumerate(data):
            share = rate(epoch * len(data) + step, steps, settings.warmup)
            optimiser.param_groups[0]["lr"] = settings.head_lr * share
            each = run.objective(linear(known[numbers]), targets[numbers].to(run.device))
            loss = (each * weights[numbers].to(run.device)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(numbers)
        if not (math.isfinite(total) and linear.weight.isfinite().all()):
            raise InputError(
                f"head_lr: at {settings.head_lr:g}, with head_weight_decay "
                f"{settings.head_weight_decay:g}, the head's loss became {total}; try a tenth of it"
            )
        with torch.no_grad():
            outputs = linear(unknown.to(run.device)).cpu()
        val_loss, _, _ = judged(run.objective, outputs, val, settings.decoding)
        bar.set_postfix(loss=f"{total / len(known):.2f}", val_loss=f"{val_loss:.2f}")
        if not val_loss >= best:
            best, best_linear, train_loss = val_loss, copy.deepcopy(linear), total / len(known)
    with torch.no_grad():
        weight = best_linear.weight.cpu() / scale
        bias = best_linear.bias.cpu() - weight @ mean
        # Machines that differ may differ in the last bits.
        weight, bias = distributed.from_first((weight, bias))
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return Epoch(
        train_loss,
        *validate(run, val),
        lr=settings.head_lr,
        photos=len(known) * settings.head_epochs,
        seconds=time.monotonic() - began,
    )


def _features(run: Run, photos: Photos) -> Tensor:
    """What the head takes of every photo, shape (n, dimensions)."""
    run.model.eval()

    def describe(pixels: Tensor) -> Tensor:
        with run.autocast:
            return features(run.model, tensors.normalise(pixels.to(run.device)))

    return of_each(photos, describe, run.settings.batch_size, run.settings.workers, "features")


def validate(run: Run, val: Labelled) -> tuple[float, float, float]:
    """What `judged` says of the network as it is."""
    settings = run.settings
    outputs = predict(run.model, val.photos, settings.batch_size, settings.workers)
    return judged(run.objective, outputs, val, settings.decoding)


def judged(
    objective: Softmax,
    outputs: Tensor,
    val: Labelled,
    decoding: str,
    calibration: Calibration = Calibration(),  # noqa: B008  it is frozen
) -> tuple[float, float, float]:
    """Loss and accuracy (percent) over photos in a class, mean GeoGuessr score over all.

    `outputs` are the network's for the photos of `val`, shape (n, outputs).
    """
    partition = objective.partition
    log_p = log_probabilities(copy.deepcopy(objective), outputs, calibration.temperature)
    label = np.asarray(partition.assign(val.latitude, val.longitude))
    inside = np.flatnonzero(label >= 0)
    loss = accuracy = math.nan
    if len(inside):
        loss = float(-log_p[inside, label[inside]].mean())
        accuracy = float(100 * (log_p[inside].argmax(axis=1) == label[inside]).mean())
    there = place(np.exp(log_p), partition, decoding, calibration.reach)
    distance = geo.distance_km(val.latitude, val.longitude, *there)
    return loss, accuracy, float(geo.geoguessr_score(distance).mean())


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def mixed(start: dict[str, Tensor], end: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """`share` of the one and the rest of the other (Wortsman et al., "WiSE-FT", CVPR 2022)."""
    return {
        name: torch.lerp(value, start[name].to(value.device), share)
        if share and value.dtype.is_floating_point
        else value
        for name, value in end.items()
    }


def _quiet() -> bool:
    return distributed.rank() > 0


def _read_checkpoint(path: Path) -> dict:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return {}
    except Exception:  # written by another version, or not a checkpoint: start again
        return {}
