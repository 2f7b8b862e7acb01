"""Say which sets of photos there are to train on and to be measured on.

Of each: where people get it, how large it is, under which licence, and what to type next.
"""

from importlib.resources import files as resources


def main() -> None:
    """Print them."""
    print(resources("nogps.cli").joinpath("sets.txt").read_text(encoding="utf-8"), end="")
