"""A locator in training: a linear probe first, then epochs of all of its network.

A run writes all of its state to a checkpoint, so that one that was killed goes on as if nothing had
happened; started by torchrun, several processes train as one with the same batches.
"""

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from nogps.base.errors import InputError
from nogps.model import distributed, objectives, tensors
from nogps.model.backbones import freeze_batch_norm, head_name, write_torch
from nogps.model.batches import Labelled, loader, predict
from nogps.model.locator import Locator
from nogps.train.settings import TrainSettings

PARTS = ("network", "optimiser", "scaler")  # that a checkpoint holds
BANDS = 8  # groups of layers that learn at rates of their own
CHECKPOINT_SECONDS = 300
STEPS_UNSEEN = 50  # after so many the loss is looked at, for which a GPU has to be waited for


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
    history: list[Epoch] = field(default_factory=list)  # the linear probe first, if there is one


class Run:
    """A locator whose network learns from one fold and is judged on another."""

    def __init__(self, locator: Locator, train: Labelled, val: Labelled, settings: TrainSettings):
        self.locator, self.train, self.val, self.settings = locator, train, val, settings
        self.network = locator.network.to(memory_format=torch.channels_last)
        self.device = next(self.network.parameters()).device
        kind = objectives.objective_class(settings.loss)
        objective = kind(locator.partition, settings.smoothing_km)
        self.targets = objective.targets(train.latitude, train.longitude)
        self.teaching = np.flatnonzero(objective.teaches(self.targets).numpy())
        if not len(self.teaching):
            raise InputError("loss: no train photo lies in any class; lower cells.min_photos")
        self.objective = objective.to(self.device)
        labels = locator.partition.assign(train.latitude, train.longitude)
        sizes = locator.partition.photos
        self.weights = objectives.class_weights(sizes, labels, settings.class_balance)
        self.autocast, self.scaler = _precision(settings.precision, self.device)
        groups = parameter_groups(self.network, settings)
        self.optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
        self.ema: dict[str, Tensor] = {}  # moving average of the weights; {}: not yet begun
        self.steps = 0
        self.state = State()
        self.began = time.monotonic()

    @cached_property
    def trained(self) -> nn.Module:
        """The network, its gradients averaged over the processes."""
        if distributed.world() == 1:
            return self.network
        if not self.settings.pretrained:
            distributed.share_batch_norm(self.network)
        return DistributedDataParallel(self.network)

    def train_mode(self) -> None:
        """As for learning; the statistics of pretrained batch norms stay as they are."""
        self.network.train()
        if self.settings.pretrained:
            freeze_batch_norm(self.network)

    def step(self, pixels: Tensor, numbers: Tensor, photos: int | None = None) -> Tensor:
        """The loss of a batch that is learned: uint8 pixels, their numbers, how many all have."""
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
        """Set every learning rate to a share of its highest."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["scale"] * self.settings.lr * share

    def update_ema(self) -> None:
        """Move the average of the weights a little toward those of now."""
        self.steps += 1
        # Young averages are short, lest they remember the start.
        keep = min(self.settings.ema_decay, (1 + self.steps) / (10 + self.steps))
        for name, value in self.network.state_dict().items():
            if value.dtype.is_floating_point and self.settings.ema_decay:
                self.ema[name].lerp_(value, 1 - keep)
            else:
                self.ema[name].copy_(value)

    def validate(self) -> tuple[float, float, float]:
        """Loss, accuracy and score on the validation fold, as `Locator.judge` gives them."""
        outputs = predict(self.network, self.val.photos, self.settings.batch_size)
        return self.locator.judge(outputs, self.val)

    def save(self, path: Path, run_id: str) -> None:
        """Write everything that `resume` needs."""
        if distributed.rank():
            return
        history = [asdict(epoch) for epoch in self.state.history]
        spent = self.state.spent + time.monotonic() - self.began
        content = {
            "run_id": run_id,
            "state": {**vars(self.state), "history": history, "spent": spent},
            "ema": self.ema,
            "steps": self.steps,
            **{part: getattr(self, part).state_dict() for part in PARTS},
        }
        write_torch(path, content)

    def resume(self, path: Path, run_id: str) -> None:
        """Go back to where the checkpoint was written; stay at the beginning if it is no use."""
        if len(set(distributed.gathered([run_id]))) > 1:
            raise InputError(
                "params.yaml, photos or classes differ between the machines; bring all of them to "
                "one commit and `dvc pull` there"
            )
        # Of several machines only the first may have it.
        content = distributed.from_first({} if distributed.rank() else _read_checkpoint(path))
        if content.get("run_id") != run_id:
            return
        history = [Epoch(**epoch) for epoch in content["state"]["history"]]
        self.state = State(**{**content["state"], "history": history})
        self.ema = {name: value.to(self.device) for name, value in content["ema"].items()}
        self.steps = content["steps"]
        for part in PARTS:
            getattr(self, part).load_state_dict(content[part])

    def fit(
        self,
        checkpoint: Path,
        run_id: str,
        on_epoch: Callable[[Epoch], None],
        probe: Callable[["Run"], Epoch],
    ) -> None:
        """Train the network, which ends as it was in its best epoch.

        The checkpoint is used only if its `run_id` is the same. `on_epoch` is also told of the
        epochs that were done before an interruption. `probe` trains the head alone, which comes
        first where the network is pretrained. InputError if the loss is no longer a number.
        """
        self.resume(checkpoint, run_id)
        state, settings = self.state, self.settings
        for epoch in state.history:
            on_epoch(epoch)
        if not self.ema:
            if settings.pretrained and settings.head_epochs:
                on_epoch(self._keep(probe(self)))
            self.ema = deepcopy(self.network.state_dict())
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
                train_loss = self._one_epoch(lambda: self.save(checkpoint, run_id))
                result = self._close_epoch(train_loss)
                on_epoch(result)
                self.save(checkpoint, run_id)
                bar.update()
                bar.set_postfix(loss=f"{train_loss:.2f}", score=f"{result.val_geoguessr:.0f}")
        self.network.load_state_dict(state.best_model)

    def batches(self, epoch: int) -> list[list[tuple[int, int]]]:
        """The keys of an epoch's photos, in the batches of all processes together.

        Those are alike in size, the least that is not below `batch_size`: no last batch is so small
        that batch norms could not learn from it.
        """
        order = np.random.default_rng((self.settings.seed, epoch)).permutation(self.teaching)
        groups = np.array_split(order, max(1, len(order) // self.settings.batch_size))
        return [[(epoch, int(number)) for number in group] for group in groups]

    def _one_epoch(self, save: Callable[[], None]) -> float:
        """The rest of an epoch; the mean loss over all of it."""
        state, everyone = self.state, self.batches(self.state.epoch)
        steps = self.settings.epochs * len(everyone)
        self.train_mode()
        began, saved, before = time.monotonic(), time.monotonic(), state.seconds
        total = torch.tensor(state.loss_sum, dtype=torch.float64, device=self.device)
        for pixels, numbers in self._shown(everyone):
            done = state.epoch * len(everyone) + state.step
            photos = len(everyone[state.step])
            # Dropout depends on where the run is alone, so that it can go on from anywhere.
            torch.manual_seed(hash((self.settings.seed, done, distributed.rank())) % 2**63)
            self.set_rate(self.settings.rate(done, steps))
            loss = distributed.summed(self.step(pixels, numbers, photos))
            self.update_ema()
            total += loss * photos
            state.step += 1
            if done == 0:
                state.first_loss = loss.item()
            state.seconds = before + time.monotonic() - began
            due = time.monotonic() - saved > CHECKPOINT_SECONDS
            if due or state.step % STEPS_UNSEEN == 0 or state.step == len(everyone):
                state.loss_sum = total.item()
                if not math.isfinite(state.loss_sum):
                    raise InputError(
                        f"lr: at {self.settings.lr:g} the loss became {state.loss_sum} in epoch "
                        f"{state.epoch + 1}; try a tenth of it"
                    )
            if due:
                save()
                saved = time.monotonic()
        return state.loss_sum / len(self.teaching)

    def _shown(self, everyone: list[list[tuple[int, int]]]) -> tqdm:
        """What is left of an epoch's batches for this process, with a bar of how far it is."""
        mine = [batch[distributed.rank() :: distributed.world()] for batch in everyone]
        return tqdm(
            loader(self.train.photos, mine[self.state.step :]),
            desc=f"epoch {self.state.epoch + 1}",
            total=len(everyone),
            initial=self.state.step,
            unit="batch",
            leave=False,
            disable=distributed.rank() > 0,
        )

    def _close_epoch(self, train_loss: float) -> Epoch:
        """Judge the averaged weights, and go on with those that learn."""
        state, learning = self.state, deepcopy(self.network.state_dict())
        self.network.load_state_dict(self.ema)
        lr = self.optimiser.param_groups[-2]["lr"]
        result = Epoch(train_loss, *self.validate(), lr, len(self.teaching), state.seconds)
        result = self._keep(result)
        self.network.load_state_dict(learning)
        state.epoch, state.step, state.loss_sum, state.seconds = state.epoch + 1, 0, 0.0, 0.0
        return result

    def _keep(self, result: Epoch) -> Epoch:
        """Add an epoch to the history, and its weights if it is the best so far."""
        result = distributed.from_first(result)  # all go on, or stop, by one score
        state = self.state
        earlier = [each.val_geoguessr for each in state.history]
        if not earlier or result.val_geoguessr > max(earlier):
            state.best_epoch = len(state.history)
            state.best_model = deepcopy(self.network.state_dict())
        state.history.append(result)
        return result


def parameter_groups(network: nn.Module, settings: TrainSettings) -> list[dict]:
    """The layers in BANDS groups from the first to the last, then the head, each with its rate.

    The group's `scale` times `lr` is its highest rate. It falls by `layer_decay` from each group to
    the one before it, and the head has its own; without pretrained weights all learn at `lr`.
    """
    head = set(network.get_submodule(head_name(network)).parameters())
    body = [each for each in network.parameters() if each not in head]
    edges = np.linspace(0, len(body), BANDS + 1).astype(int)
    groups: list[dict[str, Any]] = []
    for band in range(BANDS):
        scale = settings.layer_decay ** (BANDS - 1 - band) if settings.pretrained else 1.0
        groups.append({"params": body[edges[band] : edges[band + 1]], "scale": scale})
    scale = settings.head_lr / settings.lr if settings.pretrained else 1.0
    groups.append({"params": list(head), "scale": scale})
    return [{**group, "lr": group["scale"] * settings.lr} for group in groups if group["params"]]


def _precision(precision: str, device: torch.device) -> tuple[torch.autocast, torch.amp.GradScaler]:
    """What computes in half precision where that is asked for, and scales losses for float16."""
    on_gpu = device.type == "cuda"
    bf16 = not on_gpu or torch.cuda.is_bf16_supported(including_emulation=False)
    half = torch.bfloat16 if bf16 else torch.float16
    lower = precision == "bf16" or (precision == "auto" and on_gpu)
    autocast = torch.autocast(device.type, half, enabled=lower)
    return autocast, torch.amp.GradScaler(enabled=lower and half is torch.float16)


def _read_checkpoint(path: Path) -> dict:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # not there, written by another version, or no checkpoint: start again
        return {}
