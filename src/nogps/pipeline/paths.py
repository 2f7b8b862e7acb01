"""Where the stages' files lie."""

from pathlib import Path


def _home() -> Path:
    """The repository, also from the copy of it in which DVC runs a queued experiment."""
    for folder in Path.cwd().parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return Path()


HOME = _home()
FETCHED = HOME / "data/.fetched"  # what has been fetched and spent; git and DVC ignore it
CANDIDATES = Path("data/candidates.parquet")
PHOTOS = Path("data/photos")
ATTRIBUTION = Path("data/attribution.csv")
PACKED = Path("data/packed")
SPLITS = Path("data/splits.parquet")
CELLS = Path("data/cells.csv")
MODEL = Path("models/model.pt")
CHECKPOINT = Path("models/.checkpoint.pt")  # what train has so far; git and DVC ignore it
CURVES = Path("metrics/train")
PREDICTIONS = Path("data/predictions.parquet")
REGIONS = Path("metrics/regions.csv")
METRICS = Path("metrics")
REPORT = Path("metrics/report.html")
