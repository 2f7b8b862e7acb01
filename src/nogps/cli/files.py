"""Files that commands are given: models, folders of photos, places to write to."""

from __future__ import annotations

import os
from pathlib import Path

from nogps.base.errors import InputError
from nogps.model.base_locator import BaseLocator
from nogps.model.onnx_locator import OnnxLocator
from nogps.photos.files import image_files

MODEL = Path("models/model.pt")  # asked when no other is named


def load(path: Path) -> BaseLocator:
    """The model in a .pt or .onnx file."""
    if path.suffix == ".onnx":
        return OnnxLocator.load(path)
    from nogps.model.locator import Locator  # here: an exported model is asked without torch

    return Locator.load(path)


def photo_names(given: str) -> list[str]:
    """The photos that an argument names: a file, those in a folder, - for what comes in."""
    if not given:
        raise InputError("no name; give a file, a folder or -")
    if given == "-" or not Path(given).is_dir():
        return [given]
    files, _ = image_files(Path(given))
    if not files:
        raise InputError("holds no photos; give a folder with .jpg, .png, .webp, .tif or .heic")
    return [str(Path(given) / each) for each in sorted(files)]


def check_writable(option: str, path: Path | None) -> None:
    """InputError if no file can be written there, before an hour of work goes into it."""
    if not path:
        return
    if not path.parent.is_dir():
        raise InputError(f"{option}: {path.parent} is no directory; make it first")
    if path.exists() and not path.is_file():
        raise InputError(f"{option}: {path} is a directory or a device; name a file")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{option}: {path.parent} may not be written to; name another place")
