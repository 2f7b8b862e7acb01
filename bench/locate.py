"""A photo to a place, beside the plain ways with torchvision; and a folder beside single calls.

    python bench/locate.py [FOLDER] [--model MODEL.onnx] [--rounds 15] [--photos 1000]

FOLDER holds photos, which are laid together for one of 12 megapixels; without it, they are drawn.
Without MODEL, it is mobilenet_v3_large with 1,776 classes at 224 pixels, untrained, exported in
full. Everything is loaded, and has been asked once, before it is timed. In turn, round after round,
from the file to a guess:

- Pillow, torchvision: the loader of torchvision's data sets, its transforms on what that gives,
  forward in torch, the best class;
- torchvision: the same, but decoded by decode_image and resized as a tensor;
- nogps: `OnnxLocator.load("model.onnx").locate(path)`, circles and names of towns included;
- bare: the file decoded at the scale that nogps asks for, and the call of ONNX Runtime, no more.

Then a folder at once and, in turn, as single calls. The ratios are medians over the rounds.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from statistics import median

import numpy as np
import torch
from loader import draw
from PIL import Image
from torchvision.datasets.folder import default_loader
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from nogps.dataset.cells import fixed_level
from nogps.model import (
    backbones,
    export,
    onnx_locator,
    tensors,
)
from nogps.model.classes import Partition
from nogps.model.locator import Locator
from nogps.photos import images

ROOT = Path(__file__).parents[1]

BACKBONE, CLASSES, SIZE = "mobilenet_v3_large", 1776, 224
LARGE = (4000, 3000)  # pixels


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--photos", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        path = arguments.model or exported(here)
        locator = onnx_locator.OnnxLocator.load(path)
        network = backbones.build(locator.backbone, len(locator.partition)).eval()
        photos = photos_in(arguments.folder, here)
        large = laid_together(photos, here / "large.jpg")
        print(f"{large.stat().st_size / 1e6:.1f} MB, {LARGE[0]} x {LARGE[1]}; {locator.backbone}\n")
        one(large, locator, network, arguments.rounds)
        rounds = max(1, arguments.rounds // 5)
        for name, each in (("of 12 megapixels", [large]), ("as they are", photos)):
            print(f"\n{arguments.photos} photos {name}")
            several(linked(each, here / name, arguments.photos), locator, rounds)


def one(path: Path, locator: Locator, network: torch.nn.Module, rounds: int) -> None:
    """A single photo, each way."""
    square = locator.square(path)
    sides = {
        "Pillow, torchvision": lambda: torchvision(
            default_loader(path), network, locator.image_size
        ),
        "torchvision": lambda: torchvision(
            decode_image(str(path), ImageReadMode.RGB), network, locator.image_size
        ),
        "nogps": lambda: locator.locate(path),
        "bare decode": lambda: decode(path, images.pack_side(locator.image_size)),
        "bare runtime": lambda: locator.scores(square),
    }
    times = timed(sides, rounds)
    print_table(times)
    bare = [sum(pair) for pair in zip(times["bare decode"], times["bare runtime"], strict=True)]
    for plain in ("Pillow, torchvision", "torchvision"):
        print_ratio(f"{plain} / nogps", times[plain], times["nogps"])
    print_ratio("nogps / bare", times["nogps"], bare)


def several(paths: list[Path], locator: Locator, rounds: int) -> None:
    """A folder at once, and photo by photo."""
    sides = {
        "single calls": lambda: [locator.locate(path) for path in paths],
        "at once": lambda: locator.locate(paths),
    }
    times = timed(sides, rounds)
    print_table(times)
    print_ratio("single calls / at once", times["single calls"], times["at once"])


def torchvision(photo: Image.Image | torch.Tensor, network: torch.nn.Module, size: int) -> int:
    """As torchvision's documentation does it."""
    photo = v2.functional.to_image(v2.functional.resize(photo, [size, size], antialias=True))
    pixels = v2.functional.to_dtype(photo, torch.float32, scale=True)
    batch = v2.functional.normalize(pixels, list(tensors.MEAN), list(tensors.STD))[None]
    with torch.inference_mode():
        return int(network(batch).argmax())


def decode(path: Path, side: int) -> None:
    """A JPEG at the smallest of its scales that is large enough."""
    image = Image.open(path)
    scale = 2 * side / min(image.size)
    image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
    image.load()


def untrained() -> Locator:
    """A model as large as a real one; what it answers matters to nobody."""
    rng = np.random.default_rng(0)
    latitude = np.degrees(np.arcsin(rng.uniform(-1, 1, 50_000)))
    classes = fixed_level(latitude, rng.uniform(-180, 180, 50_000), level=5, min_photos=1)
    classes = Partition(
        **{each.name: getattr(classes, each.name)[:CLASSES] for each in fields(Partition)}
    )
    return Locator(backbones.build(BACKBONE, CLASSES).eval(), classes, BACKBONE, SIZE)


def exported(folder: Path) -> Path:
    """That model as ONNX, in full and small; says how large both are."""
    paths = folder / "model.onnx", folder / "model.small.onnx"
    for path, small in zip(paths, (False, True), strict=True):
        export.export(untrained(), path, small)
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    return paths[0]


def photos_in(folder: Path | None, scratch: Path) -> list[Path]:
    """The JPEGs of a folder, or else drawn ones."""
    if folder is None:
        folder = scratch / "drawn"
        draw(folder)
    photos = sorted(folder.glob("*.jpg"))
    if not photos:
        sys.exit(f"{folder}: no *.jpg in it; name a folder that has some")
    return photos


def laid_together(photos: list[Path], path: Path) -> Path:
    """A photo of 12 megapixels, side by side of many, so as full of detail as they are."""
    canvas = Image.new("RGB", LARGE)
    left = top = number = 0
    while top < LARGE[1]:
        tile = Image.open(photos[number % len(photos)])
        canvas.paste(tile, (left, top))
        left, number = left + tile.width, number + 1
        if left >= LARGE[0]:
            left, top = 0, top + tile.height
    canvas.save(path, quality=90)
    return path


def linked(photos: list[Path], folder: Path, count: int) -> list[Path]:
    """So many photos, some of them more than once."""
    folder.mkdir()
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.symlink_to(photos[number % len(photos)].absolute())
    return paths


def timed(sides: dict[str, Callable], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, in turn, round after round."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            if number:  # the first fills the caches
                times[name].append(time.perf_counter() - began)
    return times


def print_table(times: dict[str, list[float]]) -> None:
    """Median and spread, in milliseconds."""
    for name, each in times.items():
        low, high = np.quantile(each, (0.25, 0.75))
        print(f"{name:19} {1e3 * median(each):10.1f} ms   {1e3 * low:.1f} to {1e3 * high:.1f}")


def print_ratio(name: str, ones: list[float], others: list[float]) -> None:
    """The median of the ratios of the rounds."""
    print(f"{name:27} {median(a / b for a, b in zip(ones, others, strict=True)):.2f}")


if __name__ == "__main__":
    main()
