"""nogps: find where a photograph was taken from its pixels alone.

from nogps import Locator
Locator.load("models/model.pt").locate("photo.jpg")
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nogps.model.guess import Cell, Guess
    from nogps.model.locator import Locator
    from nogps.model.onnx_locator import OnnxLocator

# OpenMP's threads wait for each other in a loop, by default for so long that training takes many
# times as long beside other work. Read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.2.0"
__all__ = ["Cell", "Guess", "Locator", "OnnxLocator"]
HOMES = {
    "Cell": "nogps.model.guess",
    "Guess": "nogps.model.guess",
    "Locator": "nogps.model.locator",
    "OnnxLocator": "nogps.model.onnx_locator",
}


def __getattr__(name: str) -> object:
    # On demand: the stages that only fetch photos do not wait for what a locator needs.
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
