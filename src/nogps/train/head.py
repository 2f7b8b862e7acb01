"""The linear probe: the head alone learns first, on features of the photos computed once.

Kumar et al., "Fine-Tuning can Distort Pretrained Features" (ICLR 2022), say why it goes first.
"""

import copy
import math
import time
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, RandomSampler
from tqdm import tqdm

from nogps.base.errors import InputError
from nogps.model import backbones, distributed, tensors
from nogps.model.batches import Photos, of_each
from nogps.train.run import Epoch, Run, rate

BATCH = 256


class _Probe(NamedTuple):
    """A linear layer that learns, and what moves it."""

    linear: nn.Linear
    optimiser: torch.optim.Optimizer
    batches: BatchSampler


def fit_head(run: Run) -> Epoch:
    """Train the head alone; it ends as it was when the loss on the validation fold was least.

    Raises:
        InputError: the head is no linear layer, or its loss is no longer a number.
    """
    head = run.network.get_submodule(backbones.head_name(run.network))
    if not isinstance(head, nn.Linear):
        raise InputError("head_epochs: this backbone's head is no linear layer; set it to 0")
    began = time.monotonic()
    known, unknown = (features(run, fold.photos) for fold in (run.train, run.val))
    known = known[run.teaching]
    mean, scale = known.mean(dim=0), known.std(dim=0).mean()
    known, unknown = ((each - mean) / scale for each in (known, unknown))
    probe = _probe(run, head, len(known))
    linear, train_loss = _learned(run, probe, known.to(run.device), unknown.to(run.device))
    with torch.no_grad():
        weight = linear.weight.cpu() / scale
        bias = linear.bias.cpu() - weight @ mean
        # Machines that differ may differ in the last bits.
        weight, bias = distributed.from_first((weight, bias))
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return Epoch(
        train_loss,
        *run.validate(),
        lr=run.settings.head_lr,
        photos=len(known) * run.settings.head_epochs,
        seconds=time.monotonic() - began,
    )


def features(run: Run, photos: Photos) -> Tensor:
    """What the head takes of every photo, shape (n, dimensions)."""
    run.network.eval()

    def describe(pixels: Tensor) -> Tensor:
        with run.autocast:
            return backbones.features(run.network, tensors.normalise(pixels.to(run.device)))

    return of_each(photos, describe, run.settings.batch_size, run.workers, "features")


def _probe(run: Run, head: nn.Linear, photos: int) -> _Probe:
    linear = nn.Linear(head.in_features, head.out_features).to(run.device)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    settings = run.settings
    optimiser = torch.optim.AdamW(
        linear.parameters(), lr=settings.head_lr, weight_decay=settings.head_weight_decay
    )
    order = RandomSampler(range(photos), generator=torch.Generator().manual_seed(settings.seed))
    return _Probe(linear, optimiser, BatchSampler(order, BATCH, drop_last=False))


def _learned(run: Run, probe: _Probe, known: Tensor, unknown: Tensor) -> tuple[nn.Linear, float]:
    """The layer at its best on the validation photos' features, and its loss in training then."""
    best, best_linear, train_loss = math.inf, probe.linear, 0.0
    quiet = distributed.rank() > 0
    bar = tqdm(range(run.settings.head_epochs), desc="head", unit="epoch", disable=quiet)
    for epoch in bar:
        loss = _one_epoch(run, probe, known, epoch)
        with torch.no_grad():
            outputs = probe.linear(unknown).cpu()
        val_loss, _, _ = run.locator.judge(outputs, run.val)
        bar.set_postfix(loss=f"{loss:.2f}", val_loss=f"{val_loss:.2f}")
        if not val_loss >= best:
            best, best_linear, train_loss = val_loss, copy.deepcopy(probe.linear), loss
    return best_linear, train_loss


def _one_epoch(run: Run, probe: _Probe, known: Tensor, epoch: int) -> float:
    """The mean loss of one pass over the features of the photos that teach."""
    settings, count = run.settings, len(probe.batches)
    targets, weights = run.targets[run.teaching], run.weights[run.teaching]
    total = 0.0
    for step, numbers in enumerate(probe.batches):
        share = rate(epoch * count + step, settings.head_epochs * count, settings.warmup)
        probe.optimiser.param_groups[0]["lr"] = settings.head_lr * share
        each = run.objective(probe.linear(known[numbers]), targets[numbers].to(run.device))
        loss = (each * weights[numbers].to(run.device)).mean()
        probe.optimiser.zero_grad()
        loss.backward()
        probe.optimiser.step()
        total += loss.item() * len(numbers)
    if not (math.isfinite(total) and probe.linear.weight.isfinite().all()):
        raise InputError(
            f"head_lr: at {settings.head_lr:g}, with head_weight_decay "
            f"{settings.head_weight_decay:g}, the head's loss became {total}; try a tenth of it"
        )
    return total / len(known)
