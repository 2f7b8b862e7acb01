"""The linear probe: the head alone learns first, on features of the photos computed once.

Kumar et al., "Fine-Tuning can Distort Pretrained Features" (ICLR 2022), say why it goes first.
"""

import copy
import math
import time

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, RandomSampler
from tqdm import tqdm

from nogps.base.errors import InputError
from nogps.model import backbones, distributed
from nogps.model.batches import features
from nogps.train.run import Epoch, Run

BATCH = 256


def fit_head(run: Run) -> Epoch:
    """Train the head alone; it ends as it was when the loss on the validation fold was least.

    All passes count as one epoch. InputError if the head is no linear layer, or its loss is no
    longer a number.
    """
    head = run.network.get_submodule(backbones.head_name(run.network))
    if not isinstance(head, nn.Linear):
        raise InputError("head_epochs: this backbone's head is no linear layer; set it to 0")
    began = time.monotonic()
    known, unknown = (
        features(run.network, fold.photos, run.settings.batch_size, run.autocast)
        for fold in (run.train, run.val)
    )
    known = known[run.teaching]
    mean, scale = known.mean(dim=0), known.std(dim=0).mean()
    known, unknown = (((each - mean) / scale).to(run.device) for each in (known, unknown))
    linear, train_loss = _learned(run, head, known, unknown)
    with torch.no_grad():
        weight = linear.weight.cpu() / scale
        bias = linear.bias.cpu() - weight @ mean
        # Machines that differ may differ in the last bits.
        weight, bias = distributed.from_first((weight, bias))
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    photos, seconds = len(known) * run.settings.head_epochs, time.monotonic() - began
    return Epoch(train_loss, *run.validate(), run.settings.head_lr, photos, seconds)


def _learned(run: Run, head: nn.Linear, known: Tensor, unknown: Tensor) -> tuple[nn.Linear, float]:
    """The layer at its best on the validation photos' features, and its loss in training then."""
    settings = run.settings
    linear = nn.Linear(head.in_features, head.out_features).to(run.device)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimiser = torch.optim.AdamW(
        linear.parameters(), lr=settings.head_lr, weight_decay=settings.head_weight_decay
    )
    order = RandomSampler(range(len(known)), generator=torch.Generator().manual_seed(settings.seed))
    batches = BatchSampler(order, BATCH, drop_last=False)
    steps = settings.head_epochs * len(batches)
    targets, weights = run.targets[run.teaching], run.weights[run.teaching]
    best, best_linear, train_loss = math.inf, linear, 0.0
    quiet = distributed.rank() > 0
    bar = tqdm(range(settings.head_epochs), desc="head", unit="epoch", disable=quiet)
    for epoch in bar:
        total = 0.0
        for step, numbers in enumerate(batches, start=epoch * len(batches)):
            optimiser.param_groups[0]["lr"] = settings.head_lr * settings.rate(step, steps)
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
            outputs = linear(unknown).cpu()
        val_loss, _, _ = run.locator.judge(outputs, run.val)
        bar.set_postfix(loss=f"{total / len(known):.2f}", val_loss=f"{val_loss:.2f}")
        if not val_loss >= best:
            best, best_linear = val_loss, copy.deepcopy(linear)
            train_loss = total / len(known)
    return best_linear, train_loss
