"""Stage report: the page that shows what the model can do and where it errs.

Writes metrics/report.html from what eval measured. The model is not asked again.
"""

import pandas as pd

from nogps.evaluate.protocol import Row, distance_column
from nogps.model.classes import Partition
from nogps.model.locator import Locator
from nogps.pipeline import paths, run
from nogps.pipeline.params import Params, origin, synthetic
from nogps.report.photos import to_show
from nogps.report.report_page import PhotoSet, write_report


def report(params: Params) -> None:
    """The page."""
    locator = Locator.load(paths.MODEL)
    predictions = pd.read_parquet(paths.PREDICTIONS)
    regions = pd.read_csv(paths.REGIONS, dtype={"region": str})
    test = predictions[predictions["set"] == "test"]
    sets = []
    for name, figures in run.read_metrics("eval").items():
        rows = [Row.from_json(*each) for each in figures.items()]
        asked = predictions[predictions["set"] == name]
        distances = {row.name: asked[distance_column(row.name)].to_numpy() for row in rows}
        sets.append(PhotoSet(name, rows, distances))
    write_report(
        paths.REPORT,
        facts=facts(params, locator),
        sets=sets,
        classes=classes(locator.partition),
        predictions=test,
        regions=regions[regions["fold"] == "test"],
        photos=to_show(test, paths.PACKED),
        drawn=synthetic(params),
    )
    print(f"The page to look at: {paths.REPORT}")


def facts(params: Params, locator: Locator) -> dict[str, str | int]:
    """What was run, as the page tells it."""
    folds = pd.read_parquet(paths.SPLITS)["fold"].value_counts()
    return {
        "source": origin(params),
        "model": locator.backbone,
        "pretrained": params.weights,
        "loss": locator.loss,
        "classes": len(locator.partition),
        **{f"{fold} photos": int(folds.get(fold, 0)) for fold in ("train", "val", "test")},
        "model licence": locator.about.get("model_licence", "not stated"),
    }


def classes(partition: Partition) -> pd.DataFrame:
    """The classes as the page shows them, a row each, in label order."""
    table = pd.DataFrame({"token": partition.tokens, "photos": partition.photos})
    table["latitude"], table["longitude"] = partition.points()
    return table.assign(spread_km=partition.spread_km())


if __name__ == "__main__":
    run.main(report, __doc__)
