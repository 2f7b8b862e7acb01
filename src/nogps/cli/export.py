"""Write a model as ONNX: in full, and small, with its weights in 8 bits.

All that an answer takes is in the file's metadata: preprocessing, class points, temperature,
licence. Both files are compared with the model, on made-up pictures or on photos of yours. Exit
code 3 says that a file's top cells differ too often: for the full one in over 0.5 %, for the small
one, which only photos can judge, in over 3 %.
"""

import sys
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nogps.base.errors import InputError
from nogps.cli.files import MODEL, photo_names
from nogps.model import export
from nogps.model.locator import Locator
from nogps.model.onnx_locator import OnnxLocator
from nogps.photos.images import BadImage

DIFFERENT = 3  # exit code: an exported file answers differently
BLOTS = 32  # pictures that a model is compared on where there are no photos
SAME_TOP_CELL = {False: 99.5, True: 97.0}  # percent of the photos, by whether weights have 8 bits


def main(model: Path, to: Path | None, check: Path | None) -> int:
    """Write and compare both files; the exit code."""
    folder = to or model.parent
    if not folder.is_dir():
        raise InputError(f"--to: {folder} is no directory; make it first")
    if model.suffix == ".onnx":
        raise InputError(f"{model} is exported already; give the .pt that it came from")
    locator = Locator.load(model)
    pictures = _pictures(locator, check)
    kind = "photos" if check else "made-up pictures"
    code = 0
    for small in (False, True):
        path = folder / f"{model.stem}{'.small' if small else ''}.onnx"
        export.export(locator, path, small)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", end="", flush=True)
        found = export.compare(locator, OnnxLocator.load(path), pictures)
        share = 100 * found.same_top_cell / found.photos
        print(
            f"; of {found.photos} {kind} {share:.1f} % have the same top cell and "
            f"{100 * found.same_place / found.photos:.1f} % the same place, scores differ by "
            f"{found.largest_difference:.2g} at most"
        )
        if (check or not small) and share < SAME_TOP_CELL[small]:
            wanted = f"{SAME_TOP_CELL[small]} % of the top cells should be the same"
            print(f"nogps: {path}: {wanted}; measure it before you use it", file=sys.stderr)
            code = DIFFERENT
    if carries := locator.about.get("model_licence"):
        print(f"The licence that it must carry, by its photos: {carries}")
    return code


def _pictures(locator: Locator, folder: Path | None) -> list[NDArray[np.uint8]]:
    """What both models are asked: the photos of a folder, or else random blots."""
    if folder is None:
        rng = np.random.default_rng(0)
        blots = rng.integers(0, 256, (BLOTS, 8, 8, 3), dtype=np.uint8)
        return list(map(locator.square, blots.repeat(8, axis=1).repeat(8, axis=2)))
    if not folder.is_dir():
        raise InputError(f"--check: {folder} is no directory; give one with photos")
    try:
        names = photo_names(str(folder))
    except InputError as error:
        raise InputError(f"--check: {folder} {error}") from None
    found = []
    for name in tqdm(names, unit="photo", disable=None, delay=1):
        with suppress(BadImage, OSError):  # what cannot be read, neither can answer
            found.append(locator.square(name))
    if not found:
        raise InputError(f"--check: not one photo in {folder} can be read; give others")
    return found


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.epilog = (
        "nogps export --check photos/ && nogps locate holiday.jpg --model models/model.onnx"
    )
    add = parser.add_argument
    add("--model", type=Path, default=MODEL, help="(default: %(default)s)")
    add("--to", type=Path, metavar="FOLDER", help="(default: the folder of the model)")
    add("--check", type=Path, metavar="FOLDER", help="photos to compare the answers on")
