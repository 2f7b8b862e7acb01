"""Measure a saved model on a folder or zip of photos, as docs/protocol.md says.

It has a photos.csv (file, latitude, longitude, owner) or photos with GPS in their EXIF, or is one
of the sets that `nogps sets` lists. A photo that cannot be read counts as a miss.
"""

import json
import tempfile
from argparse import ArgumentParser
from pathlib import Path

from nogps.acquire.sources.folder import name_of
from nogps.base.errors import InputError
from nogps.cli.files import MODEL, check_writable, load
from nogps.evaluate.measure import measure
from nogps.photos import images
from nogps.pipeline.benchmarks import read_folder
from nogps.report.table import results_table


def main(
    folder: Path, model: Path, together: str, as_json: bool, predictions: Path | None, **how: int
) -> None:
    """Print the table of a set of photos; `how` has the batch_size and the workers."""
    check_writable("--predictions", predictions)
    if how["batch_size"] < 1 or how["workers"] < 0:
        raise InputError("--batch-size is a number from 1, --workers one from 0; mend that")
    locator, by_owner = load(model), together == "owner"
    with tempfile.TemporaryDirectory() as scratch:
        packed, name = Path(scratch), name_of(folder)
        photos = read_folder(folder, packed, images.pack_side(locator.image_size))
        measured = measure(name, photos, packed, locator, None, together=by_owner, **how)
    if predictions:
        measured.predictions.to_parquet(predictions, index=False)
    if as_json:
        rows = {row.name: row.to_json() for row in measured.rows}
        print(json.dumps({name: rows}, indent=2))
        return
    hits = measured.rows[0].hits
    together = ", the photos of each owner answered as one" if by_owner else ""
    print(
        f"{name}{together}: percent of photos within a distance, with 95 % intervals\n\n"
        f"{results_table(measured.rows)}\n\n"
        f"The circle for half of the probability holds {hits['within_radius_50']:.1f} % of "
        f"the truths, that for 90 % of it {hits['within_radius_90']:.1f} %."
    )


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.epilog = "nogps evaluate photos/ --model models/model.pt --together owner --json"
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="or a .zip, or the .csv of a set")
    add("--model", type=Path, default=MODEL, help="(default: %(default)s)")
    owner = "owner: take the photos of each owner to be of one place, and answer them as one"
    add("--together", choices=["none", "owner"], default="none", help=owner)
    add("--json", action="store_true", dest="as_json", help="print metrics/eval.json's figures")
    add("--predictions", type=Path, help="also write a row a photo, as parquet")
    add("--batch-size", type=int, default=64)
    add("--workers", type=int, default=1, help="processes that decode photos")
