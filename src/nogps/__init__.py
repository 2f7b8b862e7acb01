"""nogps: find where a photograph was taken from its pixels alone.

from nogps import Locator
Locator.load("models/model.pt").locate("photo.jpg")
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nogps.locate import Guess, Locator

__all__ = ["Guess", "Locator"]


def __getattr__(name: str):
    # On demand: the stages that only fetch photos do not wait for what a locator needs.
    if name in __all__:
        from nogps import locate

        return getattr(locate, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
