"""Several processes, started by torchrun, that train or measure one model; or a single one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce


@contextmanager
def processes() -> Iterator[torch.device]:
    """Join the other processes, if torchrun started several; yields this one's device."""
    on_gpu = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def described(device: torch.device) -> str:
    """The device by name, and the number of processes, in words."""
    gpu = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device.type}{gpu}, processes: {world()}"


def world() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0; the first writes the files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def gathered(parts: list) -> list:
    """The parts of all processes where each has every `world()`-th, in their order."""
    if world() == 1:
        return parts
    everyone: list[list] = [[] for _ in range(world())]
    distributed.all_gather_object(everyone, parts)
    total = sum(map(len, everyone))
    return [everyone[each % world()][each // world()] for each in range(total)]


def summed(value: Tensor) -> Tensor:
    """The sum of what all processes have."""
    if world() > 1:
        distributed.all_reduce(value)
    return value


def from_first(value: Any) -> Any:
    """The value that the first process has, for all."""
    if world() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box)
    return box[0]


def share_batch_norm(model: nn.Module) -> None:
    """Let batch norms, in place, learn from the batch of all processes together."""
    if next(model.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = _SharedBatchNorm


class _SharedBatchNorm(nn.BatchNorm2d):
    """nn.SyncBatchNorm, which knows only GPUs, for CPUs."""

    num_batches_tracked: Tensor
    running_mean: Tensor
    running_var: Tensor
    momentum: float

    def forward(self, batch: Tensor) -> Tensor:
        if not self.training:
            return super().forward(batch)
        batch, over = batch.float(), (0, 2, 3)
        count = batch.new_tensor([batch.numel() / batch.shape[1]])
        total, count = all_reduce(torch.cat([batch.sum(over), count])).split([batch.shape[1], 1])
        mean = (total / count)[:, None, None]
        variance = all_reduce((batch - mean).square().sum(over)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (batch - mean) * scale[:, None, None] + self.bias[:, None, None]
