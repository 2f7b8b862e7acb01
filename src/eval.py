"""Stage eval: measure the model beside what needs no learning.

Writes metrics/eval.json (the table), metrics/regions.csv (how it does in each region, on the
validation and the test fold) and data/predictions.parquet (a row a photo), for the test fold and
for each set of eval.benchmarks. `torchrun` runs it on several GPUs, as it runs train.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from nogps.base.files import replacing
from nogps.dataset import tables
from nogps.evaluate import baselines
from nogps.evaluate.measure import Measured, Reference, measure
from nogps.evaluate.protocol import positions
from nogps.evaluate.regions import by_region
from nogps.model import backbones, distributed
from nogps.model.batches import Photos
from nogps.model.locator import Locator
from nogps.photos import images, shards
from nogps.pipeline import benchmarks, paths, run
from nogps.pipeline.params import Params
from nogps.report.table import results_table

if TYPE_CHECKING:
    import torch


def evaluate(params: Params) -> None:
    """The table, the regions, the predictions."""
    with distributed.processes() as device:
        locator = Locator.load(paths.MODEL)
        photos = tables.read_photos(paths.PACKED, paths.CANDIDATES, paths.SPLITS)
        folds = dict(list(photos.groupby("fold")))
        ask = partial(
            measure,
            locator=locator,
            batch_size=params.batch_size,
            workers=params.workers,
            together=params.eval.together == "owner",
        )
        reference = training_photos(params, locator, folds["train"], device)
        val = ask("val", folds["val"], paths.PACKED)
        measured = [ask("test", folds["test"], paths.PACKED, reference=reference)]
        with tempfile.TemporaryDirectory(dir=paths.METRICS) as scratch:
            for name, path in benchmarks.named(params.eval.benchmarks).items():
                packed = Path(scratch) / name
                side = images.pack_side(locator.image_size)
                table = benchmarks.read_folder(path, packed, side, "eval.benchmarks: ")
                measured.append(ask(name, table, packed, reference=reference))
        if distributed.rank() == 0:
            write(val, measured, params.eval.region_level)
            print(results_table(measured[0].rows))


def training_photos(
    params: Params, locator: Locator, train: pd.DataFrame, device: "torch.device"
) -> Reference:
    """The train fold for the baselines, by the network as it was before any training of ours."""
    frozen = None
    if params.pretrained:
        frozen = backbones.build(locator.backbone, 2, params.weights).eval().to(device)
    train = train[train["status"] == "ok"]
    where, side = shards.byte_ranges(train), locator.image_size
    photos = Photos(shards.Shards(paths.PACKED), where, side, workers=params.workers)
    features = baselines.features(photos, frozen, params.batch_size)
    return Reference(positions(train), features, frozen, params.seed)


def write(val: Measured, measured: list[Measured], region_level: int) -> None:
    """metrics/eval.json, metrics/regions.csv and data/predictions.parquet; the test fold first."""
    figures = {each.name: {row.name: row.to_json() for row in each.rows} for each in measured}
    run.write_metrics("eval", **figures)
    with replacing(paths.PREDICTIONS) as path:
        pd.concat([each.predictions for each in measured]).to_parquet(path, index=False)
    columns = ["latitude", "longitude", "distance_km"]
    regions = [
        by_region(*each.predictions[columns].to_numpy().T, region_level).assign(fold=each.name)
        for each in (val, measured[0])
    ]
    with replacing(paths.REGIONS) as path:
        pd.concat(regions).round(6).to_csv(path, index=False, lineterminator="\n")


if __name__ == "__main__":
    run.main(evaluate, __doc__)
