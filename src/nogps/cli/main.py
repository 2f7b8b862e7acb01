"""The command `nogps`: what a saved model is asked outside the pipeline."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nogps.base.errors import InputError, system_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nogps.evaluate.measure import Measured
    from nogps.model.decode import Floats
    from nogps.model.locator import Locator
    from nogps.report.map_page import Located

# What a command needs is imported where it runs: torch takes seconds, and neither --help nor
# `nogps locate` with an ONNX model needs it.

MODEL = Path("models/model.pt")
SOME_FAILED = 3  # exit code
BLOTS = 32  # pictures that a model is compared on where there are no photos
SAME_TOP_CELL = {False: 99.5, True: 97.0}  # percent of the photos, by whether weights have 8 bits


def main(arguments: list[str] | None = None) -> None:
    """Run a command; what the user did wrong comes out as one sentence."""
    parser = argparse.ArgumentParser(prog="nogps", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_locate(commands)
    _add_export(commands)
    _add_evaluate(commands)
    _add_sets(commands)
    options = parser.parse_args(arguments)
    if sys.stdout is None:
        sys.exit("nogps: the standard output is closed; send it somewhere")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of towns, on any terminal
            stream.reconfigure(errors="backslashreplace")
    try:
        code = options.run(options)
        sys.stdout.flush()
    except InputError as error:
        sys.exit(f"nogps: {error}")
    except BrokenPipeError:  # the reader has had enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        sys.exit(f"nogps: {system_error(error)}")
    except KeyboardInterrupt:
        sys.exit(130)
    if code:
        sys.exit(code)


def _load(path: Path) -> Locator:
    if path.suffix == ".onnx":
        from nogps.model.onnx_locator import OnnxLocator

        return OnnxLocator.load(path)
    from nogps.model.locator import Locator

    return Locator.load(path)


def _check_file(option: str, path: Path | None) -> None:
    """InputError if no file can be written there, before an hour of work goes into it."""
    if not path:
        return
    if not path.parent.is_dir():
        raise InputError(f"{option}: {path.parent} is no directory; make it first")
    if path.exists() and not path.is_file():
        raise InputError(f"{option}: {path} is a directory or a device; name a file")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{option}: {path.parent} may not be written to; name another place")


# ---- nogps locate


def locate(options: argparse.Namespace) -> int:
    """Say where photos were taken."""
    from tqdm import tqdm

    _check_file("--map", options.map)
    if options.map and options.map.suffix.lower() not in (".html", ".htm"):
        # As `--map *.jpg` would have it, which costs the first photo.
        raise InputError(f"--map: {options.map} is no name for a page; give one that ends in .html")
    names, photos, ok = [], [], True
    for given in options.photos:
        try:
            for name in _names(given):
                photos.append(_readable(name))
                names.append(name)
        except (InputError, OSError) as error:
            _complain(given, error, options)
            ok = False
    if not photos:
        return 1
    locator = _load(options.model)
    if locator.learned and not (options.json or options.geojson):
        print(f"The model: {locator.learned}", file=sys.stderr)
    together: list[tuple[str, Path | bytes, Floats]] = []
    located: list[Located] = []  # for what is written at the end
    bar = tqdm(locator.scores_each(photos), total=len(photos), unit="photo", disable=None, delay=1)
    for name, photo, scores in zip(names, photos, bar, strict=True):
        if isinstance(scores, Exception):
            _complain(name, scores, options)
            ok = False
        elif options.together:
            together.append((name, photo, scores))
        else:
            one = _answer(locator, [(name, photo, scores)], options)
            located += [one] if options.map or options.geojson else []
    if together:
        located.append(_answer(locator, together, options))
    if options.geojson:
        features = [each.to_geojson() for each in located]
        print(json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False))
    if options.map and located:
        from nogps.report.map_page import write_map_page

        write_map_page(options.map, located, locator)
        print(f"The map to look at: {options.map}", file=sys.stderr)
    return 0 if ok else SOME_FAILED


def _names(given: str) -> list[str]:
    """The photos that an argument names: a file, those in a folder, - for what comes in."""
    from nogps.photos.files import image_files

    if not given:
        raise InputError("no name; give a file, a folder or -")
    if given == "-" or not Path(given).is_dir():
        return [given]
    files, _ = image_files(Path(given))
    if not files:
        raise InputError("holds no photos; give a folder with .jpg, .png, .webp, .tif or .heic")
    return [str(Path(given) / each) for each in sorted(files)]


def _readable(name: str) -> Path | bytes:
    """A photo as a path that may be read again; what comes through a pipe as its bytes."""
    if name == "-":
        if sys.stdin is None:
            raise InputError("the standard input is closed; name a file")
        return sys.stdin.buffer.read()
    path = Path(name)
    return path.read_bytes() if path.is_fifo() else path


def _answer(
    locator: Locator, of: Sequence[tuple[str, Path | bytes, Floats]], options: argparse.Namespace
) -> Located:
    """The answer for a photo, or for several of one place, printed at once."""
    from tqdm import tqdm

    from nogps.photos.exif import read_metadata
    from nogps.report.map_page import Located

    names, photos, scores = zip(*of, strict=True)
    positions = []
    for photo in photos:
        with suppress(OSError):  # it was there to be located; it may be gone by now
            positions.append(read_metadata(photo).position)
    one = Located(
        [_printable(name) for name in names],
        photos[0],
        locator.guess(scores),
        next(filter(None, positions), None),
    )
    if not options.geojson:
        tqdm.write(json.dumps(one.to_dict(), ensure_ascii=False) if options.json else _told(one))
        sys.stdout.flush()  # a program that reads along gets each answer as it comes
    return one


def _printable(name: str) -> str:
    """A file's name as text that every file and terminal can hold, on one line."""
    text = os.fsencode(name).decode(errors="backslashreplace")
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _told(one: Located) -> str:
    guess = one.guess
    cells = ", ".join(f"{each.place} {100 * each.probability:.1f} %" for each in guess.cells)
    lines = [
        f"{', '.join(one.names)}: {guess.place} ({guess.latitude:.4f}, {guess.longitude:.4f})",
        f"  {guess.sureness}",
        f"  Most probable cells, by the nearest town: {cells}.",
    ]
    if one.gps:
        latitude, longitude = one.gps
        whose = "Its GPS" if len(one.names) == 1 else "The first GPS among them"
        lines.append(
            f"  {whose} says {latitude:.4f}, {longitude:.4f}: {one.off_km:,.0f} km from the guess."
        )
    return "\n".join(lines)


def _complain(name: str, error: Exception, options: argparse.Namespace) -> None:
    from tqdm import tqdm

    what = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    tqdm.write(f"nogps: {_printable(name) or repr(name)}: {what}", file=sys.stderr)
    if options.json:
        tqdm.write(json.dumps({"photo": _printable(name), "error": what}, ensure_ascii=False))


def _add_locate(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "locate",
        help="say where photos were taken",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Say where photos were taken, by their pixels alone. GPS that a photo carries is not\n"
            "used; it is shown beside the guess."
        ),
        epilog=(
            "examples:\n"
            "  nogps locate holiday.jpg\n"
            "  nogps locate holiday/ --map holiday.html\n"
            "  nogps locate front.jpg back.jpg --together --json\n"
            "  curl -s $URL | nogps locate -\n\n"
            "exit codes: 0 every photo was located; 1 nothing could be done; 2 a wrong command\n"
            "line; 3 some photo could not be read, which stderr names, and the others were located"
        ),
    )
    parser.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTO",
        help="a file, a folder with photos, or - for a photo on the standard input",
    )
    parser.add_argument(
        "--model", type=Path, default=MODEL, help=".pt or .onnx (default: %(default)s)"
    )
    parser.add_argument(
        "--together", action="store_true", help="all photos show one place: one answer for them"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="a JSON object a line for each answer")
    how.add_argument("--geojson", action="store_true", help="one FeatureCollection")
    parser.add_argument(
        "--map", type=Path, metavar="FILE.html", help="also write a page with maps, for any browser"
    )
    parser.set_defaults(run=locate)


# ---- nogps export


def export(options: argparse.Namespace) -> int:
    """Write a model as ONNX, in full and small, and check both against it."""
    from nogps.model import export as export_module
    from nogps.model import onnx_locator
    from nogps.model.export import compare
    from nogps.model.locator import Locator

    folder = options.to or options.model.parent
    if not folder.is_dir():
        raise InputError(f"--to: {folder} is no directory; make it first")
    if options.model.suffix == ".onnx":
        raise InputError(f"{options.model} is exported already; give the .pt that it came from")
    locator = Locator.load(options.model)
    pictures = list(_pictures(locator, options.check))
    code = 0
    for small in (False, True):
        path = folder / f"{options.model.stem}{'.small' if small else ''}.onnx"
        export_module.export(locator, path, small)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB", end="", flush=True)
        found = compare(locator, onnx_locator.OnnxLocator.load(path), pictures)
        share = 100 * found.same_top_cell / found.photos
        kind = "photos" if options.check else "made-up pictures"
        print(
            f"; of {found.photos} {kind} {share:.1f} % have the same top cell and "
            f"{100 * found.same_place / found.photos:.1f} % the same place, scores differ by "
            f"{found.largest_difference:.2g} at most"
        )
        if (options.check or not small) and share < SAME_TOP_CELL[small]:
            wanted = f"{SAME_TOP_CELL[small]} % of the top cells should be the same"
            print(f"nogps: {path}: {wanted}; measure it before you use it", file=sys.stderr)
            code = SOME_FAILED
    if carries := locator.about.get("model_licence"):
        print(f"The licence that it must carry, by its photos: {carries}")
    return code


def _pictures(locator: Locator, folder: Path | None) -> Iterator[NDArray[np.uint8]]:
    """What both models are asked: the photos of a folder, or else random blots."""
    import numpy as np
    from tqdm import tqdm

    from nogps.photos.images import BadImage

    if folder is None:
        rng = np.random.default_rng(0)
        blots = rng.integers(0, 256, (BLOTS, 8, 8, 3), dtype=np.uint8)
        yield from map(locator.square, blots.repeat(8, axis=1).repeat(8, axis=2))
        return
    if not folder.is_dir():
        raise InputError(f"--check: {folder} is no directory; give one with photos")
    try:
        names = _names(str(folder))
    except InputError as error:
        raise InputError(f"--check: {folder} {error}") from None
    found = 0
    for name in tqdm(names, unit="photo", disable=None, delay=1):
        try:
            square = locator.square(name)
        except (BadImage, OSError):
            continue  # what cannot be read, neither can answer
        found += 1
        yield square
    if not found:
        raise InputError(f"--check: not one photo in {folder} can be read; give others")


def _add_export(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "export",
        help="write a model as ONNX, for phones, browsers and servers",
        description=(
            "Write a model as ONNX: in full, and small, with its weights in 8 bits. All that an "
            "answer takes is in the file's metadata: preprocessing, class points, temperature, "
            "licence. Both files are compared with the model, on made-up pictures or on photos of "
            "yours. Exit code 3 says that a file's top cells differ too often: for the full one in "
            f"over {100 - SAME_TOP_CELL[False]} %, for the small one, which only photos can judge, "
            f"in over {100 - SAME_TOP_CELL[True]:.0f} %."
        ),
        epilog="nogps export --check photos/ && nogps locate holiday.jpg --model models/model.onnx",
    )
    parser.add_argument("--model", type=Path, default=MODEL, help="(default: %(default)s)")
    parser.add_argument(
        "--to", type=Path, metavar="FOLDER", help="(default: the folder of the model)"
    )
    parser.add_argument(
        "--check", type=Path, metavar="FOLDER", help="photos to compare the answers on"
    )
    parser.set_defaults(run=export)


# ---- nogps evaluate


def evaluate(options: argparse.Namespace) -> None:
    """Measure a saved model on a folder, zip or set of photos."""
    from nogps.acquire.sources.folder import name_of
    from nogps.evaluate import protocol
    from nogps.evaluate.measure import measure
    from nogps.photos import images
    from nogps.pipeline.benchmarks import read_folder

    _check_file("--predictions", options.predictions)
    if options.batch_size < 1 or options.workers < 0:
        raise InputError("--batch-size is a number from 1, --workers one from 0; mend that")
    locator = _load(options.model)
    name = name_of(options.folder)
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
        rows = {row.name: protocol.numbers(row) for row in measured.rows}
        print(json.dumps({name: rows}, indent=2))
    else:
        print(_measured(measured, options.together))


def _measured(measured: Measured, together: str) -> str:
    from nogps.report.report_page import results_table

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
        help="measure a saved model on a folder or zip of photos",
        description=(
            "Measure a saved model on a folder or zip of photos, by the protocol in README. It has "
            "a photos.csv (file, latitude, longitude, owner) or photos with GPS in their EXIF, or "
            "is one of the sets that `nogps sets` lists. A photo that cannot be read counts as a "
            "miss."
        ),
        epilog="nogps evaluate photos/ --model models/model.pt --together owner --json",
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="or a .zip, or the .csv of a set"
    )
    parser.add_argument("--model", type=Path, default=MODEL, help="(default: %(default)s)")
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


# ---- nogps sets


def sets(options: argparse.Namespace) -> None:
    """Say which sets of photos there are to train on and to be measured on."""
    print(Path(__file__).with_name("sets.txt").read_text(encoding="utf-8"), end="")


def _add_sets(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "sets",
        help="say where OSV-5M, Im2GPS, Im2GPS3k and YFCC4k come from and how to use them",
        description=(
            "Say of sets of photos that exist already where people get them, how large they are, "
            "under which licence, and what to type next."
        ),
    )
    parser.set_defaults(run=sets)


if __name__ == "__main__":
    main()
