"""What others printed for the well-known benchmarks, to stand beside a run's own rows."""

import re
from importlib.resources import files as resources

import pandas as pd

from nogps.earth.geo import RADII_KM


def beside(name: str) -> list[dict]:
    """The published results on a benchmark, oldest first; [] for any other set of photos.

    Each has system, year, training_photos ("" where it is not known), source (where it was
    printed) and `hits`: percent by those keys of RADII_KM that were printed. A set goes by its
    name without "test", so that im2gps3ktest is im2gps3k.
    """
    benchmark = re.sub(r"[^a-z0-9]|test", "", name.lower())
    with resources("nogps.report").joinpath("published.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    rows = table[table["benchmark"] == benchmark].to_dict("records")
    return [row | {"hits": {key: float(row[key]) for key in RADII_KM if row[key]}} for row in rows]
