"""`nogps sets`: say which sets of photos there are to train on and to be measured on."""

import argparse
from collections.abc import Sequence
from importlib.resources import files as resources


def main(arguments: Sequence[str] | None = None) -> None:
    """Print them."""
    argparse.ArgumentParser(
        prog="nogps sets",
        description=(
            "Say of sets of photos that exist already where people get them, how large they are, "
            "under which licence, and what to type next."
        ),
    ).parse_args(arguments)
    print(resources("nogps.cli").joinpath("sets.txt").read_text(encoding="utf-8"), end="")
