"""The command `nogps`: what a saved model is asked outside the pipeline."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from nogps import evaluation, images
from nogps.errors import InputError, system_error
from nogps.locate import Locator
from nogps.measure import Measured, measure, read_folder
from nogps.report import results_table


def main(arguments: list[str] | None = None) -> None:
    """Run a command; what the user did wrong comes out as one sentence."""
    parser = argparse.ArgumentParser(prog="nogps", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_evaluate(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except InputError as error:
        sys.exit(f"nogps: {error}")
    except OSError as error:
        sys.exit(f"nogps: {system_error(error)}")
    except KeyboardInterrupt:
        sys.exit(130)


def evaluate(options: argparse.Namespace) -> None:
    """Measure a saved model on a folder of photos."""
    if options.predictions and not options.predictions.parent.is_dir():
        raise InputError(
            f"--predictions: {options.predictions.parent} is no directory; make it first"
        )
    if options.predictions and options.predictions.is_dir():
        raise InputError(f"--predictions: {options.predictions} is a directory; name a file")
    if options.batch_size < 1 or options.workers < 0:
        raise InputError("--batch-size is a number from 1, --workers one from 0; mend that")
    locator = Locator.load(options.model)
    name = options.folder.resolve().name
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch)
        try:
            photos = read_folder(options.folder, packed, images.pack_side(locator.image_size))
        except InputError as error:
            raise InputError(str(error).replace("folder.path: ", "")) from None
        measured = measure(
            name,
            photos,
            packed,
            locator,
            batch_size=options.batch_size,
            workers=options.workers,
            together=options.together == "owner",
        )
    if options.predictions:
        measured.predictions.to_parquet(options.predictions, index=False)
    if options.json:
        rows = {row.name: evaluation.numbers(row) for row in measured.rows}
        print(json.dumps({name: rows}, indent=2))
    else:
        print(_told(measured, options.together))


def _told(measured: Measured, together: str) -> str:
    model = measured.rows[0]
    how = ", the photos of each owner answered as one" if together == "owner" else ""
    return (
        f"{measured.name}{how}: percent of photos within a distance, with 95 % intervals\n\n"
        f"{results_table(measured.rows)}\n\n"
        f"The circle for half of the probability holds {model.hits['within_radius_50']:.1f} % of "
        f"the truths, that for 90 % of it {model.hits['within_radius_90']:.1f} %."
    )


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure a saved model on a folder of photos",
        description=(
            "Measure a saved model on a folder of photos, by the protocol in README. The folder "
            "has a photos.csv (file, latitude, longitude, owner) or photos with GPS in their EXIF. "
            "A photo that cannot be read counts as a miss."
        ),
        epilog="nogps evaluate photos/ --model models/model.pt --together owner --json",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--model", type=Path, default=Path("models/model.pt"))
    parser.add_argument(
        "--together",
        choices=["none", "owner"],
        default="none",
        help="owner: take the photos of each owner to be of one place, and answer them as one",
    )
    parser.add_argument("--json", action="store_true", help="print metrics/eval.json's figures")
    parser.add_argument("--predictions", type=Path, help="also write a row a photo, as parquet")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1, help="processes that decode photos")
    parser.set_defaults(run=evaluate)


if __name__ == "__main__":
    main()
