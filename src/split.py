"""Stage split: train, val and test folds that share no owner, sequence, place or near-duplicate.

Writes data/splits.parquet (photo_id, fold) and metrics/split.json, which counts what folds
share (nothing) and says how far test photos are from the nearest train photo.
"""

import numpy as np

from nogps.base.files import replacing
from nogps.dataset import folds, tables
from nogps.earth import geo
from nogps.pipeline import paths, run
from nogps.pipeline.params import Params


def split(params: Params) -> None:
    """Assign each photo to a fold."""
    photos = tables.read_photos(paths.PACKED, paths.CANDIDATES)
    how = params.split
    bonds = folds.bonds(photos, how.place_level, how.near_duplicate_bits)
    dealt = folds.assign(bonds, val=how.val, test=how.test, seed=params.seed)
    with replacing(paths.SPLITS) as path:
        photos[["photo_id"]].assign(fold=dealt).to_parquet(path, index=False)
    counts = {fold: np.count_nonzero(dealt == fold) for fold in (*folds.FOLDS, folds.LEFT_OUT)}
    positions = photos[["latitude", "longitude"]].to_numpy()
    nearest = geo.nearest_km(positions[dealt == "test"], positions[dealt == "train"])
    shared = folds.leaks(bonds, dealt)
    shares = (0, 5, 25, 50, 75, 95, 100)
    apart = {f"p{share:02d}": round(float(np.percentile(nearest, share)), 3) for share in shares}
    run.write_metrics(
        "split", photos=counts, shared_between_folds=shared, test_to_nearest_train_km=apart
    )
    print(", ".join(f"{count} {fold}" for fold, count in counts.items()))
    print("shared between folds: " + ", ".join(f"{count} {name}" for name, count in shared.items()))


if __name__ == "__main__":
    run.main(split, __doc__)
