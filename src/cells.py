"""Stage cells: cut the globe into classes, by where the train photos are.

Writes data/cells.csv, a row a class, and metrics/cells.json.
"""

import numpy as np

from nogps.dataset import tables
from nogps.dataset.cells import partition
from nogps.pipeline import paths, run
from nogps.pipeline.params import Params


def cells(params: Params) -> None:
    """Build the partition from the train fold alone."""
    photos = tables.read_photos(paths.PACKED, paths.CANDIDATES, paths.SPLITS)
    train = tables.readable(photos, "train")
    classes = partition(params.partition, params.cells, train["latitude"], train["longitude"])
    classes.to_csv(paths.CELLS)
    outside = {
        fold: (classes.assign(part["latitude"], part["longitude"]) < 0).sum()
        for fold, part in photos.groupby("fold")
    }
    sizes = classes.photos
    levels, counts = np.unique(classes.levels, return_counts=True)
    run.write_metrics(
        "cells",
        classes=len(classes),
        photos_per_class={"min": sizes.min(), "median": np.median(sizes), "max": sizes.max()},
        photos_outside=outside,
        levels=dict(zip(levels.tolist(), counts, strict=True)),
    )
    print(f"{len(classes)} classes of {sizes.min()} to {sizes.max()} photos")
    print(f"{outside.get('train', 0)} of {len(train)} train photos lie outside every class")


if __name__ == "__main__":
    run.main(cells, __doc__)
