"""Stage eval: measure the model, compare it with what needs no learning, show the worst.

Writes metrics/eval.json (the table), metrics/report.html (the page) and data/predictions.parquet
(a row a photo), for the test fold and for each folder of eval.benchmarks.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

import stage
from nogps import evaluation, images, model, places, report, store
from nogps.dataset import Photos, predict
from nogps.errors import InputError
from nogps.evaluation import Points
from nogps.files import replacing
from nogps.locate import Locator
from nogps.sources import Status
from nogps.sources.folder import Folder

WORST = 10  # photos on the page, by loss and by distance


@dataclass(frozen=True)
class Known:
    """What the baselines know: the train fold, and the frozen network that describes photos."""

    places: Points
    described: np.ndarray
    frozen: nn.Module | None


@dataclass(frozen=True)
class Measured:
    """A set of photos with the model's answers."""

    name: str
    predictions: pd.DataFrame  # a row a photo, unreadable ones included
    rows: list[evaluation.Row]
    distances: dict[str, np.ndarray]
    jpeg: Callable[[str], bytes]  # of a readable photo, by id


def evaluate(params: stage.Params) -> None:
    """The table, the page, the predictions."""
    locator = Locator.load(stage.MODEL)
    candidates = pd.read_parquet(stage.CANDIDATES)
    packed = store.read_index(stage.PACKED).merge(candidates, on="photo_id", validate="one_to_one")
    packed = packed.merge(pd.read_parquet(stage.SPLITS), on="photo_id", validate="one_to_one")
    train = packed[(packed["fold"] == "train") & (packed["status"] == "ok")]
    known = what_baselines_know(params, train)
    measured = [measure(params, locator, known, "test", packed[packed["fold"] == "test"])]
    with tempfile.TemporaryDirectory(dir=stage.METRICS) as scratch:
        for name, path in benchmarks(params).items():
            folder = Path(scratch) / name
            photos = read_benchmark(path, folder, images.pack_side(params.image_size))
            measured.append(measure(params, locator, known, name, photos, folder))
        write(params, locator, packed, measured)
    print(report.results_table(measured[0].rows))
    print(f"\nThe page to look at: {stage.REPORT}")


def benchmarks(params: stage.Params) -> dict[str, Path]:
    """The folders of eval.benchmarks by name, each name once."""
    named = {path.resolve().name: path for path in params.eval.benchmarks}
    if len(named) < len(params.eval.benchmarks) or "test" in named:
        raise InputError(
            "eval.benchmarks: each folder needs a name of its own, and none may be called test; "
            "rename them"
        )
    return named


def photos_of(params: stage.Params, table: pd.DataFrame, folder: Path) -> Photos:
    """The packed photos behind the rows of a table."""
    return Photos(store.Shards(folder), store.places(table), params.image_size)


def positions(table: pd.DataFrame) -> Points:
    """Latitude and longitude of each row."""
    return table[["latitude", "longitude"]].to_numpy()


def what_baselines_know(params: stage.Params, train: pd.DataFrame) -> Known:
    """Describe the train fold with the network as it was before any training of ours."""
    frozen = None
    if params.weights != "none":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        frozen = model.build(params.backbone, 2, params.weights).eval().to(device)
    photos = photos_of(params, train, stage.PACKED)
    described = evaluation.describe(photos, frozen, params.batch_size, params.workers)
    return Known(positions(train), described, frozen)


def read_benchmark(path: Path, folder: Path, side: int) -> pd.DataFrame:
    """Pack the photos of a benchmark folder; one that is not there counts as unreadable."""
    source = Folder(path)
    try:
        candidates = pd.DataFrame([asdict(candidate) for candidate in source.candidates()])
    except InputError as error:
        raise InputError(str(error).replace("folder.path", "eval.benchmarks")) from None
    url = dict(zip(candidates["photo_id"], candidates["url"], strict=True))

    def read(photo_id: str) -> bytes:
        fetched = source.read(url[photo_id])
        if fetched.status is not Status.OK:
            raise images.BadImage(str(fetched.status))
        return fetched.body

    packed = store.pack(list(url), read, folder, side)
    return packed.merge(candidates, on="photo_id", validate="one_to_one")


def measure(
    params: stage.Params,
    locator: Locator,
    known: Known,
    name: str,
    photos: pd.DataFrame,
    folder: Path = stage.PACKED,
) -> Measured:
    """The model's answers to a set of photos, and those of the baselines, on the same photos."""
    photos = photos.reset_index(drop=True)
    readable = np.flatnonzero(photos["status"] == "ok")
    if not len(readable):
        raise InputError(f"{name}: not one of {len(photos)} photos can be read")
    batch = photos_of(params, photos.iloc[readable], folder)
    scores = predict(
        locator.network.to("cuda" if torch.cuda.is_available() else "cpu"),
        batch,
        params.batch_size,
        params.workers,
    )
    described = evaluation.describe(batch, known.frozen, params.batch_size, params.workers)
    truth = positions(photos)
    points = np.stack(locator.partition.points(), axis=1)
    chosen = scores.argmax(dim=1).numpy()
    similar = evaluation.nearest_neighbour(described, known.described, known.places)
    guesses = {
        "model": scatter(points[chosen], readable, len(photos)),
        "best_cell": evaluation.best_cell(truth, points),
        "nearest_neighbour": scatter(similar, readable, len(photos)),
        "most_common_cell": evaluation.most_common_cell(truth, points, locator.partition.photos),
        "chance": evaluation.chance(truth, known.places, params.seed),
    }
    distances = {row: evaluation.distances(truth, guess) for row, guess in guesses.items()}
    label = locator.partition.assign(*truth.T)
    right_class = {row: same_class(locator, label, guess) for row, guess in guesses.items()}
    predictions = photos[["photo_id", "latitude", "longitude", "owner", "licence", "page_url"]]
    predictions = predictions.assign(
        set=name,
        guess_latitude=guesses["model"][:, 0],
        guess_longitude=guesses["model"][:, 1],
        distance_km=distances["model"],
    )
    log_probability = scores.log_softmax(dim=1).numpy()
    each = np.arange(len(readable))
    labels = label[readable]
    loss = np.where(labels >= 0, -log_probability[each, labels], np.nan)
    predictions["label"] = label
    predictions["guess_label"] = scatter(chosen, readable, len(photos), missing=-1)
    predictions["loss"] = scatter(loss, readable, len(photos))  # none outside every class
    predictions["confidence"] = scatter(
        np.exp(log_probability[each, chosen]), readable, len(photos)
    )
    number = {photo_id: each for each, photo_id in enumerate(photos["photo_id"].iloc[readable])}
    return Measured(
        name,
        predictions,
        [evaluation.row(row, km, right_class[row]) for row, km in distances.items()],
        distances,
        lambda photo_id: batch.jpeg(number[photo_id]) if photo_id in number else b"",
    )


def same_class(locator: Locator, label: np.ndarray, guess: evaluation.Points) -> np.ndarray:
    """Whether each guess lies in the class of the truth, whose label is given."""
    answered = np.flatnonzero(np.isfinite(guess[:, 0]))
    guessed = locator.partition.assign(*guess[answered].T)
    same = (guessed == label[answered]) & (guessed >= 0)
    return scatter(same, answered, len(guess), missing=False)


def scatter(values: np.ndarray, rows: np.ndarray, n: int, missing: float = np.nan) -> np.ndarray:
    """`values` in `rows` of n rows, `missing` in the others."""
    out = np.full((n, *values.shape[1:]), missing, dtype=values.dtype)
    out[rows] = values
    return out


def write(
    params: stage.Params, locator: Locator, packed: pd.DataFrame, measured: list[Measured]
) -> None:
    """metrics/eval.json, data/predictions.parquet, metrics/report.html."""
    stage.write_metrics(
        "eval", {each.name: {row.name: numbers(row) for row in each.rows} for each in measured}
    )
    with replacing(stage.PREDICTIONS) as path:
        pd.concat([each.predictions for each in measured]).to_parquet(path, index=False)
    test = measured[0]
    folds = packed["fold"].value_counts()
    report.write_report(
        stage.REPORT,
        facts={
            "source": f"{params.source}, {params.world}" if params.source != "folder" else "folder",
            "model": params.backbone,
            "pretrained": params.weights,
            "classes": len(locator.partition),
            **{f"{fold} photos": int(folds.get(fold, 0)) for fold in ("train", "val", "test")},
        },
        sets=[report.PhotoSet(each.name, each.rows, each.distances) for each in measured],
        truths=positions(test.predictions),
        guesses=test.predictions[["guess_latitude", "guess_longitude"]].to_numpy(),
        worst_by_loss=cards(test, "loss"),
        worst_by_distance=cards(test, "distance_km"),
    )


def numbers(row: evaluation.Row) -> dict:
    """A row as eval.json holds it: percent, kilometres, and the 95 % intervals."""
    return {
        "n": row.n,
        **{key: round(value, 6) for key, value in row.hits.items()},
        "median_km": round(row.median_km, 6),
        "mean_km": round(row.mean_km, 6),
        "geoguessr": round(row.geoguessr, 6),
        "ci95": {key: [round(end, 6) for end in ends] for key, ends in row.intervals.items()},
    }


def cards(measured: Measured, column: str) -> list[report.Guess]:
    """The photos with the largest value in a column, for the page."""
    worst = measured.predictions.dropna(subset=column).nlargest(WORST, column, keep="first")
    true_towns = places.nearest_town(worst["latitude"], worst["longitude"])
    guessed_towns = places.nearest_town(worst["guess_latitude"], worst["guess_longitude"])
    return [
        report.Guess(
            photo_id=photo.photo_id,
            thumbnail_jpeg=images.thumbnail(measured.jpeg(photo.photo_id)),
            true_position=(photo.latitude, photo.longitude),
            guessed_position=(photo.guess_latitude, photo.guess_longitude),
            distance_km=photo.distance_km,
            loss=photo.loss,
            confidence=photo.confidence,
            true_place=f"{there.name}, {there.country}",
            guessed_place=f"{guessed.name}, {guessed.country}",
            owner=photo.owner,
            licence=photo.licence,
            page_url=photo.page_url,
        )
        for photo, there, guessed in zip(worst.itertuples(), true_towns, guessed_towns, strict=True)
    ]


if __name__ == "__main__":
    stage.main(evaluate, __doc__)
