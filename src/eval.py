"""Stage eval: measure the model, compare it with what needs no learning, show where it errs.

Writes metrics/eval.json (the table), metrics/regions.csv (how it does in each region, on the
validation and the test fold), metrics/report.html (the page) and data/predictions.parquet (a row
a photo), for the test fold and for each set of eval.benchmarks.
"""

import nogps  # noqa: F401  before torch, which reads what it sets

# isort: split
import tempfile
from pathlib import Path

import pandas as pd
import torch

from nogps.acquire.sources.folder import name_of
from nogps.base.errors import InputError
from nogps.base.files import replacing
from nogps.dataset import tables
from nogps.earth import towns
from nogps.evaluate import baselines, protocol, regions
from nogps.evaluate.measure import Known, Measured, measure, positions
from nogps.model import backbones, distributed
from nogps.model.batches import Photos
from nogps.model.locator import Locator
from nogps.photos import images, shards
from nogps.pipeline import paths, run
from nogps.pipeline.benchmarks import read_folder
from nogps.pipeline.params import Params, drawn, origin
from nogps.report import report_page

WORST = 30  # photos on the page, by loss and by distance
SHOWN = 1000  # photos on the page in all
THUMBNAIL = 192  # pixels


def evaluate(params: Params) -> None:
    """The table, the page, the predictions."""
    with distributed.processes() as device:
        locator = Locator.load(paths.MODEL)
        photos = tables.read_photos(paths.PACKED, paths.CANDIDATES, paths.SPLITS)
        known = what_baselines_know(params, photos, device)
        how = {"batch_size": params.batch_size, "workers": params.workers}

        def fold(name: str, beside: Known | None) -> Measured:
            table = photos[photos["fold"] == name]
            return measure(
                name, table, paths.PACKED, locator, beside, together=together(params), **how
            )

        val, measured = fold("val", None), [fold("test", known)]
        with tempfile.TemporaryDirectory(dir=paths.METRICS) as scratch:
            for name, path in benchmarks(params).items():
                folder = Path(scratch) / name
                table = read_benchmark(path, folder, images.pack_side(params.image_size))
                measured.append(
                    measure(name, table, folder, locator, known, together=together(params), **how)
                )
            if distributed.rank() == 0:
                write(params, locator, photos, val, measured)
                print(report_page.results_table(measured[0].rows))
                print(f"\nThe page to look at: {paths.REPORT}")


def together(params: Params) -> bool:
    """Whether photos of one owner are answered as one."""
    return params.eval.together == "owner"


def benchmarks(params: Params) -> dict[str, Path]:
    """The sets of eval.benchmarks by name, each name once."""
    named = {name_of(path): path for path in params.eval.benchmarks}
    if len(named) < len(params.eval.benchmarks) or {"test", "val"} & set(named):
        raise InputError(
            "eval.benchmarks: each folder or file needs a name of its own, and none may be called "
            "test or val; rename them"
        )
    return named


def read_benchmark(path: Path, folder: Path, side: int) -> pd.DataFrame:
    """The photos of a benchmark, packed."""
    try:
        return read_folder(path, folder, side)
    except InputError as error:
        raise InputError(str(error).replace("folder.path", "eval.benchmarks")) from None


def what_baselines_know(params: Params, photos: pd.DataFrame, device: torch.device) -> Known:
    """Describe the train fold with the network as it was before any training of ours."""
    frozen = None
    if params.weights != "none":
        frozen = backbones.build(params.backbone, 2, params.weights).eval().to(device)
    train = photos[(photos["fold"] == "train") & (photos["status"] == "ok")]
    packed = Photos(shards.Shards(paths.PACKED), shards.places(train), params.image_size)
    described = baselines.describe(packed, frozen, params.batch_size, params.workers)
    return Known(positions(train), described, frozen, params.seed)


def write(
    params: Params,
    locator: Locator,
    photos: pd.DataFrame,
    val: Measured,
    measured: list[Measured],
) -> None:
    """metrics/eval.json, metrics/regions.csv, data/predictions.parquet, metrics/report.html."""
    run.write_metrics(
        "eval",
        {each.name: {row.name: protocol.numbers(row) for row in each.rows} for each in measured},
    )
    with replacing(paths.PREDICTIONS) as path:
        pd.concat([each.predictions for each in measured]).to_parquet(path, index=False)
    test = measured[0]
    by_fold = {each.name: by_region(each, params.eval.region_level) for each in (val, test)}
    with replacing(paths.REGIONS) as path:
        table = pd.concat([each.assign(fold=name) for name, each in by_fold.items()])
        table.round(6).to_csv(path, index=False, lineterminator="\n")
    folds = photos["fold"].value_counts()
    report_page.write_report(
        paths.REPORT,
        facts={
            "source": origin(params),
            "model": params.backbone,
            "pretrained": params.weights,
            "loss": params.loss,
            "classes": len(locator.partition),
            **{f"{fold} photos": int(folds.get(fold, 0)) for fold in ("train", "val", "test")},
            "model licence": locator.about.get("model_licence", "not stated"),
        },
        sets=[report_page.PhotoSet(each.name, each.rows, each.distances) for each in measured],
        classes=classes(locator),
        predictions=test.predictions,
        regions=by_fold["test"],
        photos=shown(test),
        drawn=drawn(params),
    )


def by_region(measured: Measured, level: int) -> pd.DataFrame:
    """How the model does in each region."""
    table = measured.predictions
    return regions.by_region(table["latitude"], table["longitude"], table["distance_km"], level)


def classes(locator: Locator) -> pd.DataFrame:
    """The classes as the page shows them."""
    latitude, longitude = locator.partition.points()
    return pd.DataFrame(
        {
            "token": locator.partition.tokens,
            "latitude": latitude,
            "longitude": longitude,
            "photos": locator.partition.photos,
            "spread_km": locator.partition.spread_km(),
        }
    )


def shown(measured: Measured) -> list[report_page.Photo]:
    """The photos on the page: the worst by loss and by distance, then others as they come."""
    table = measured.predictions
    worst = [table.dropna(subset=by).nlargest(WORST, by) for by in ("loss", "distance_km")]
    table = pd.concat([*worst, table]).drop_duplicates("photo_id").head(SHOWN)
    there = towns.nearest_town(table["latitude"], table["longitude"])
    answered = table.dropna(subset="guess_latitude")
    guessed = dict(
        zip(
            answered["photo_id"],
            towns.nearest_town(answered["guess_latitude"], answered["guess_longitude"]),
            strict=True,
        )
    )
    photos = []
    for photo_id, town in zip(table["photo_id"], there, strict=True):
        number = measured.number.get(photo_id)
        thumbnail, top = b"", []
        if number is not None:
            top = measured.likeliest[number]
            thumbnail = images.thumbnail(measured.jpeg(number), THUMBNAIL)
        guess = guessed.get(photo_id)
        photos.append(
            report_page.Photo(
                photo_id,
                thumbnail,
                top,
                true_place=str(town),
                guessed_place=str(guess) if guess else "",
            )
        )
    return photos


if __name__ == "__main__":
    run.main(evaluate, __doc__)
