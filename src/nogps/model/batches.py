"""Packed photos as batches of pixels."""

import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate
from tqdm import tqdm

from nogps.model import backbones, distributed, tensors
from nogps.model.settings import Augmentation
from nogps.photos.shards import ByteRange, Shards

EXACT: AbstractContextManager = nullcontext()  # float32
WHOLE = -1  # instead of an epoch: the photo as it is, not augmented


@dataclass(frozen=True, eq=False)
class Photos(Dataset):
    """Packed photos; an item is (uint8 square of shape (3, size, size), its number).

    Keys are (epoch, number): how a photo is augmented depends on seed, epoch and number alone,
    so that a run can go on from any point, with any number of workers. Without `augmentation`
    every photo is shown as it is.
    """

    shards: Shards
    byte_ranges: Sequence[ByteRange]
    image_size: int  # pixels
    seed: int = 0
    augmentation: Augmentation | None = None
    workers: int = 0  # processes that decode them

    def __len__(self) -> int:
        return len(self.byte_ranges)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, number = key
        pixels = tensors.to_tensor(self.shards.read(self.byte_ranges[number]))
        if epoch == WHOLE or self.augmentation is None:
            return tensors.whole(pixels, self.image_size), number
        rng = np.random.default_rng((self.seed, epoch, number))
        return tensors.augmented(pixels, self.image_size, self.augmentation, rng), number


@dataclass(frozen=True)
class Labelled:
    """Photos, where they were taken in degrees, and whose they are; arrays (n,)."""

    photos: Photos
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    owner: NDArray[np.object_]


def loader(photos: Photos, batches: list[list[tuple[int, int]]]) -> DataLoader:
    """Batches of photos by key: (uint8 pixels (n, 3, size, size), channels_last; numbers (n,))."""
    return DataLoader(
        photos,
        batch_sampler=batches,
        num_workers=photos.workers if len(batches) > 1 else 0,
        collate_fn=collated,
        worker_init_fn=_leave_interrupts_to_parent,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each loader would move the global random state on
    )


@torch.inference_mode()
def of_each(
    photos: Photos, function: Callable[[Tensor], Tensor], batch_size: int, desc: str
) -> Tensor:
    """What `function` makes of every photo as it is, in order: float32 on the CPU, shape (n, ...).

    It is given uint8 pixels of shape (batch, 3, size, size). Where there are several processes,
    they share the work, in the same batches as one would, and all have the result.
    """
    keys = [(WHOLE, number) for number in range(len(photos))]
    batches = [keys[start : start + batch_size] for start in range(0, len(keys), batch_size)]
    mine = batches[distributed.rank() :: distributed.world()]
    bar = tqdm(loader(photos, mine), desc=desc, unit="batch", delay=2, leave=False)
    return torch.cat(distributed.gathered([function(pixels).float().cpu() for pixels, _ in bar]))


def predict(network: nn.Module, photos: Photos, batch_size: int) -> Tensor:
    """The network's outputs for every photo, shape (n, outputs)."""
    network.eval()
    device = next(network.parameters()).device
    return of_each(
        photos, lambda pixels: network(tensors.normalise(pixels.to(device))), batch_size, "predict"
    )


def features(
    network: nn.Module, photos: Photos, batch_size: int, autocast: AbstractContextManager = EXACT
) -> Tensor:
    """What the network's head takes of every photo, shape (n, dimensions)."""
    network.eval()
    device = next(network.parameters()).device

    def describe(pixels: Tensor) -> Tensor:
        with autocast:
            return backbones.features(network, tensors.normalise(pixels.to(device)))

    return of_each(photos, describe, batch_size, "features")


def collated(items: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """Items as a batch, its pixels channels_last: stacked as they lie, none is moved twice."""
    pixels, numbers = default_collate([(each.permute(1, 2, 0), number) for each, number in items])
    return pixels.permute(0, 3, 1, 2), numbers


def _leave_interrupts_to_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
