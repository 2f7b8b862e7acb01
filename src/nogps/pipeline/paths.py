"""Where the stages' files lie."""

from pathlib import Path

_QUEUE = (".dvc", "tmp", "exps")  # DVC runs a queued experiment in a copy of the repository there
_queues = (folder for folder in Path.cwd().parents if folder.parts[-3:] == _QUEUE)
HOME = next((folder.parents[2] for folder in _queues), Path())  # the repository itself
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
