"""Whether the input keeps a GPU busy: training steps on packed photos, and on data already there.

    python bench/gpu_input.py [FOLDER] [--size 224] [--batch 128] [--workers N] [--device cuda]

FOLDER is as in bench/loader.py. For each network, in turn and several times, two hundred steps
(forward, backward, AdamW) in bfloat16, channels_last: with our loader, augmentation on, and with
one batch that stays on the GPU. Wanted: at least 90 %.
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from loader import AUGMENTATION, packed, photos_in
from torch.nn.functional import cross_entropy
from torchvision import models

from nogps.model import tensors
from nogps.model.batches import Photos, loader
from nogps.photos import shards

CLASSES = 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--size", type=int, default=224, help="pixels, of the squares")
    parser.add_argument("--batch", type=int, default=128, help="photos")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("this machine has no CUDA GPU, so there is nothing to measure here")
    device = torch.device(arguments.device)
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        places = packed(photos_in(arguments.folder, here / "photos"), here)
        photos = Photos(
            shards.Shards(here), places, arguments.size, 0, AUGMENTATION, arguments.workers
        )
        keys = shuffled(len(photos), arguments.batch, arguments.steps + 1)
        print(f"\n{'images a second':22} {'real':>8} {'at hand':>8} {'share':>6}")
        for name in ("mobilenet_v3_large", "resnet50"):
            step = training_step(name, device)
            real, at_hand = [], []
            for number in range(arguments.rounds + 1):
                batches = loader(photos, keys)
                one = torch.zeros(arguments.batch, 3, arguments.size, arguments.size)
                one = one.byte().to(device, memory_format=torch.channels_last)
                rates = speed(batches, step), speed(itertools.repeat(one, len(keys)), step)
                if number:  # the first chooses kernels and fills the page cache
                    real.append(rates[0])
                    at_hand.append(rates[1])
            share = median(a / b for a, b in zip(real, at_hand, strict=True))
            print(f"{name:22} {median(real):8,.0f} {median(at_hand):8,.0f} {share:6.0%}")


def shuffled(photos: int, batch: int, count: int) -> list[list[tuple[int, int]]]:
    """So many batches of keys, epoch after epoch."""
    rng = np.random.default_rng(0)
    keys = (
        (epoch, number)
        for epoch in itertools.count()
        for number in rng.permutation(photos).tolist()
    )
    return [list(itertools.islice(keys, batch)) for _ in range(count)]


def training_step(name: str, device: torch.device):
    """A function that learns from uint8 pixels, on the host or on the device."""
    network = models.get_model(name, num_classes=CLASSES).to(device).train()
    network = network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters())

    def step(pixels: torch.Tensor) -> None:
        pixels = tensors.normalise(pixels.to(device, non_blocking=True))
        labels = torch.zeros(len(pixels), dtype=torch.int64, device=device)
        with torch.autocast(device.type, torch.bfloat16):
            loss = cross_entropy(network(pixels).float(), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def speed(batches: Iterable, step) -> float:
    """Images a second, from the end of the first step: the workers are then at work."""
    count, began = 0, 0.0
    for number, batch in enumerate(batches):
        pixels = batch if isinstance(batch, torch.Tensor) else batch[0]
        step(pixels)
        if number == 0:
            wait()
            began = time.perf_counter()
        else:
            count += len(pixels)
    wait()
    return count / (time.perf_counter() - began)


def wait() -> None:
    """Until a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
