"""Packed photos as batches of pixels."""

import signal
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from nogps import images
from nogps.store import Place, Shards

WHOLE = -1  # instead of an epoch: the photo as it is, not augmented


class Photos(Dataset):
    """Packed photos; an item is (uint8 square of shape (3, size, size), its number).

    Keys are (epoch, number): how a photo is augmented depends on seed, epoch and number alone,
    so that a run can go on from any point, with any number of workers.
    """

    def __init__(self, shards: Shards, places: Sequence[Place], image_size: int, seed: int = 0):
        self.shards = shards
        self.places = list(places)
        self.image_size = image_size
        self.seed = seed

    def __len__(self) -> int:
        return len(self.places)

    def jpeg(self, number: int) -> bytes:
        """The packed photo itself."""
        return self.shards.read(self.places[number])

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, number = key
        pixels = images.to_tensor(self.jpeg(number))
        if epoch == WHOLE:
            return images.whole(pixels, self.image_size), number
        rng = np.random.default_rng((self.seed, epoch, number))
        return images.augmented(pixels, self.image_size, rng), number


def loader(photos: Photos, batches: list[list[tuple[int, int]]], workers: int) -> DataLoader:
    """Batches of photos by key, in the order given."""
    return DataLoader(
        photos,
        batch_sampler=batches,
        num_workers=workers if len(batches) > 1 else 0,
        worker_init_fn=_leave_interrupts_to_parent,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each loader would move the global random state on
    )


def in_batches(
    photos: Photos, batch_size: int, workers: int, desc: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every photo once, whole and in order: (uint8 pixels, numbers)."""
    keys = [(WHOLE, number) for number in range(len(photos))]
    batches = [keys[start : start + batch_size] for start in range(0, len(keys), batch_size)]
    yield from tqdm(loader(photos, batches, workers), desc=desc, unit="batch", delay=2, leave=False)


@torch.inference_mode()
def predict(model: nn.Module, photos: Photos, batch_size: int, workers: int) -> Tensor:
    """Class scores (logits) of every photo, float32 on the CPU, shape (n, classes)."""
    model.eval()
    device = next(model.parameters()).device
    scores = [
        model(images.normalise(pixels.to(device))).float().cpu()
        for pixels, _ in in_batches(photos, batch_size, workers, "predict")
    ]
    return torch.cat(scores)


def _leave_interrupts_to_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
