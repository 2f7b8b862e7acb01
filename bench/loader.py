"""Photos to batches, images a second of one core, beside ImageFolder and webdataset.

    python bench/loader.py [FOLDER] [--size 224] [--workers 1] [--rounds 5]

FOLDER holds JPEGs with a longer side of about 1024 pixels; without it, such photos are drawn. They
are packed once, with a shorter side of 256 pixels. Then, in turn, round after round:

- nogps: its loader on the packed photos, in random order, with its augmentation;
- ImageFolder: torchvision's, on the photos as they are, varied alike by torchvision's transforms;
- both once more with crops alone, and no change of colour;
- webdataset, usual: that library on the same packed tars, decode("pil") and torchvision's
  transforms, set to crop and colour as ours do;
- webdataset, ours inside: the same library, but with our functions from bytes to batch;
- mobilenet_v3_large: what the input is for, forward and backward on the CPU, data at hand.

"Of one core" is by the processor time of all processes together, which other work on the machine
changes little; "a second" is by the clock, with so many workers. Ratios are medians over rounds.
"""

import argparse
import functools
import io
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, models
from torchvision.transforms import v2

from nogps.dataset import packing
from nogps.model import batches as batches_module
from nogps.model import tensors
from nogps.model.batches import (
    Photos,
    collated,
)
from nogps.model.settings import Augmentation
from nogps.photos import shards as shards_module
from nogps.photos.shards import (
    ByteRange,
    Shards,
)
from planet import photos as photos_module
from planet import picture

ROOT = Path(__file__).parents[1]

PACKED_SIDE = 256
BATCH = 64
DRAWN = 100  # photos; each is packed PACKED / DRAWN times
PACKED = 2000  # two shards, since webdataset needs one for each worker
AUGMENTATION = Augmentation(crop=0.5, colour=0.2, erase=0.0)
CROPS = Augmentation(crop=0.5, colour=0.0, erase=0.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--size", type=int, default=224, help="pixels, of the squares")
    parser.add_argument("--workers", type=int, default=1, choices=(1, 2))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.workers)
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        photos = photos_in(arguments.folder, here / "photos")
        ranges = packed(photos, here)
        sides = {
            "nogps": lambda: nogps(here, ranges, arguments.size, arguments.workers, AUGMENTATION),
            "ImageFolder, varied alike": lambda: image_folder(
                here, arguments.size, arguments.workers, AUGMENTATION
            ),
            "nogps, crops alone": lambda: nogps(
                here, ranges, arguments.size, arguments.workers, CROPS
            ),
            "ImageFolder, crops alone": lambda: image_folder(
                here, arguments.size, arguments.workers, CROPS
            ),
            "webdataset, usual": lambda: usual(here, arguments.size, arguments.workers),
            "webdataset, ours inside": lambda: quickest(here, arguments.size, arguments.workers),
            "mobilenet_v3_large": lambda: model(arguments.size),
        }
        rounds = []
        for number in range(arguments.rounds + 1):
            measured = {name: speed(side) for name, side in sides.items()}
            if number:  # the first fills the caches
                rounds.append(measured)
    print(f"\n{arguments.size} px, workers: {arguments.workers}, rounds: {arguments.rounds}\n")
    print_table(rounds)


def photos_in(folder: Path | None, link: Path) -> list[Path]:
    """The JPEGs of a folder or else drawn ones, also reachable as the only class in `link`."""
    link.mkdir()
    if folder is None:
        draw(link / "all")
    else:
        (link / "all").symlink_to(folder.absolute())
    photos = sorted((link / "all").glob("*.jpg"))
    if not photos:
        sys.exit(f"{folder}: no *.jpg in it; name a folder that has some")
    sizes = [path.stat().st_size for path in photos]
    print(f"{len(photos)} photos, {np.mean(sizes) / 1000:.0f} kB each")
    return photos


def draw(folder: Path) -> None:
    """The simulated planet's pictures, 1024 x 768, with as much detail as photographs have."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, photo in enumerate(photos_module.photos(0, DRAWN)):
        drawn = Image.open(io.BytesIO(picture.jpeg(photo))).convert("RGB").resize((1024, 768))
        values = np.asarray(drawn).astype(np.float32)
        for scale in (1, 2, 4, 8, 16):  # detail of every size, as in nature
            noise = rng.normal(0, 5, (768 // scale, 1024 // scale)).astype(np.float32)
            values += np.asarray(Image.fromarray(noise).resize((1024, 768)))[..., None]
        values = values.clip(0, 255).astype(np.uint8)
        Image.fromarray(values).save(folder / f"{number}.jpg", quality=85)


def packed(photos: list[Path], folder: Path) -> list[ByteRange]:
    """Pack them, over and over up to PACKED."""
    names = [f"{number:05d}" for number in range(PACKED)]
    read = functools.partial(_read_again, photos)
    ranges = shards_module.byte_ranges(packing.pack(names, read, folder, PACKED_SIDE))
    print(f"{PACKED} packed, {np.mean([each.size for each in ranges]) / 1000:.0f} kB each")
    return ranges


def _read_again(photos: list[Path], name: str) -> bytes:
    return photos[int(name) % len(photos)].read_bytes()


def nogps(
    folder: Path,
    ranges: list[ByteRange],
    size: int,
    workers: int,
    augmentation: Augmentation,
) -> int:
    """Images that our loader gave."""
    photos = Photos(Shards(folder), ranges, size, 0, augmentation, workers)
    order = np.random.default_rng(0).permutation(len(photos)).tolist()
    keys = [(0, number) for number in order]
    batches = [keys[start : start + BATCH] for start in range(0, len(keys), BATCH)]
    return sum(len(pixels) for pixels, _ in batches_module.loader(photos, batches))


def image_folder(folder: Path, size: int, workers: int, augmentation: Augmentation) -> int:
    """Images that ImageFolder gave."""
    photos = datasets.ImageFolder(folder / "photos", varied(size, augmentation))
    loader = DataLoader(photos, BATCH, shuffle=True, num_workers=workers)
    return sum(len(pixels) for pixels, _ in loader)


def varied(size: int, augmentation: Augmentation) -> v2.Compose:
    """What torchvision has that varies photos as ours are."""
    least, most = (4 / 3 * tensors.LARGEST_STRETCH**sign for sign in (-1, 1))  # photos are 4 : 3
    steps = [v2.RandomResizedCrop(size, (augmentation.crop, 1), (least, most))]
    if augmentation.colour:
        steps.append(v2.ColorJitter(*[augmentation.colour] * 3))
    return v2.Compose([*steps, v2.PILToTensor()])


def usual(folder: Path, size: int, workers: int) -> int:
    """Images that webdataset gave in the way that its documentation shows."""
    transform = varied(size, AUGMENTATION)
    samples = shards(folder).decode("pil").to_tuple("jpg", "__key__").map_tuple(transform)
    return drained(samples.batched(BATCH), workers)


def quickest(folder: Path, size: int, workers: int) -> int:
    """Images that webdataset gave with our functions in it."""
    rng = np.random.default_rng(0)

    def from_jpeg(jpeg: bytes) -> torch.Tensor:
        return tensors.augmented(tensors.to_tensor(jpeg), size, AUGMENTATION, rng)

    samples = shards(folder).to_tuple("jpg", "__key__").map_tuple(from_jpeg)
    return drained(samples.batched(BATCH, collation_fn=collated), workers)


def shards(folder: Path) -> webdataset.WebDataset:
    """The packed photos as webdataset reads them, shuffled as it does that."""
    paths = [str(path) for path in sorted(folder.glob("shard-*.tar"))]
    return webdataset.WebDataset(paths, shardshuffle=len(paths)).shuffle(1000)


def drained(samples: webdataset.WebDataset, workers: int) -> int:
    """Images in all the batches."""
    loader = webdataset.WebLoader(samples, batch_size=None, num_workers=workers)
    return sum(len(pixels) for pixels, _ in loader)


@functools.cache
def network() -> torch.nn.Module:
    """The model, ready to train."""
    return models.mobilenet_v3_large().to(memory_format=torch.channels_last).train()


def model(size: int) -> int:
    """Images that the model learned from."""
    pixels = torch.zeros(BATCH, 3, size, size, dtype=torch.uint8)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    network()(tensors.normalise(pixels)).logsumexp(1).mean().backward()
    return BATCH


def speed(side: Callable[[], int]) -> tuple[float, float]:
    """Images per second of processor time, and per second by the clock."""
    spent, began = processor_seconds(), time.perf_counter()
    count = side()
    return count / (processor_seconds() - spent), count / (time.perf_counter() - began)


def processor_seconds() -> float:
    """Of this process and of those it has had."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in usage)


def print_table(rounds: list[dict[str, tuple[float, float]]]) -> None:
    """A row a side: medians, range, and how many times as fast we are."""
    print(f"{'images':24} {'of one core':>12} {'min - max':>16} {'a second':>9} {'nogps is':>15}")
    for name in rounds[0]:
        core, clock = zip(*(measured[name] for measured in rounds), strict=True)
        ours = "nogps, crops alone" if "crops" in name else "nogps"
        ratio = median(measured[ours][0] / measured[name][0] for measured in rounds)
        spread = f"{min(core):,.0f} - {max(core):,.0f}"
        times = "" if name == ours else f"{ratio:.2f} times it"
        print(f"{name:24} {median(core):>12,.0f} {spread:>16} {median(clock):>9,.0f} {times:>15}")


if __name__ == "__main__":
    main()
