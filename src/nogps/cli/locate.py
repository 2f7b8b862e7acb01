"""Say where photos were taken, by their pixels alone.

GPS that a photo carries is not used; it is shown beside the guess.
"""

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from nogps.base.errors import InputError
from nogps.cli.files import MODEL, check_writable, load, photo_names
from nogps.model.base_locator import BaseLocator
from nogps.model.guess import Floats
from nogps.photos.exif import read_metadata
from nogps.report.map_page import Located, write_map_page

SOME_FAILED = 3  # exit code
EXAMPLES = """\
examples:
  nogps locate holiday.jpg
  nogps locate holiday/ --map holiday.html
  nogps locate front.jpg back.jpg --together --json
  curl -s $URL | nogps locate -

exit codes: 0 every photo was located; 1 nothing could be done; 2 a wrong command
line; 3 some photo could not be read, which stderr names, and the others were located"""

Asked = tuple[str, Path | bytes]  # a photo's name, and its file or its bytes
Complain = Callable[[str, Exception], None]  # of a photo's name, and what is wrong with it


def main(
    given: list[str], model: Path, together: bool, as_json: bool, geojson: bool, page: Path | None
) -> int:
    """Print an answer for each photo, or one for all; the exit code."""
    check_writable("--map", page)
    if page and page.suffix.lower() not in (".html", ".htm"):
        # As `--map *.jpg` would have it, which costs the first photo.
        raise InputError(f"--map: {page} is no name for a page; give one that ends in .html")
    failed: list[str] = []

    def complain(name: str, error: Exception) -> None:
        failed.append(name)
        what = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        tqdm.write(f"nogps: {_printable(name) or repr(name)}: {what}", file=sys.stderr)
        if as_json:
            tqdm.write(_json({"photo": _printable(name), "error": what}))

    photos = list(_opened(given, complain))
    if not photos:
        return 1
    locator = load(model)
    if locator.learned and not (as_json or geojson):
        print(f"The model: {locator.learned}", file=sys.stderr)
    located: list[Located] = []
    scored = _scored(locator, photos, complain)
    groups = filter(None, [list(scored)]) if together else ([each] for each in scored)
    for group in groups:
        one = _answer(locator, group)
        if not geojson:
            tqdm.write(_json(one.to_dict()) if as_json else _told(one))
            sys.stdout.flush()  # a program that reads along gets each answer as it comes
        if geojson or page:  # else a million photos would fill the memory
            located.append(one)
    if geojson:
        features = [each.to_geojson() for each in located]
        print(_json({"type": "FeatureCollection", "features": features}))
    if page and located:
        write_map_page(page, located, locator)
        print(f"The map to look at: {page}", file=sys.stderr)
    return SOME_FAILED if failed else 0


def _opened(given: Iterable[str], complain: Complain) -> Iterator[Asked]:
    for each in given:
        try:
            for name in photo_names(each):
                yield name, _readable(name)
        except (InputError, OSError) as error:
            complain(each, error)


def _readable(name: str) -> Path | bytes:
    """A photo as a path that may be read again; what comes through a pipe as its bytes."""
    if name == "-":
        if sys.stdin is None:
            raise InputError("the standard input is closed; name a file")
        return sys.stdin.buffer.read()
    path = Path(name)
    return path.read_bytes() if path.is_fifo() else path


def _scored(
    locator: BaseLocator, photos: Sequence[Asked], complain: Complain
) -> Iterator[tuple[str, Path | bytes, Floats]]:
    """The photos that can be read with their scores."""
    scores = locator.scores_each([photo for _, photo in photos])
    bar = tqdm(scores, total=len(photos), unit="photo", disable=None, delay=1)
    for (name, photo), found in zip(photos, bar, strict=True):
        if isinstance(found, Exception):
            complain(name, found)
        else:
            yield name, photo, found


def _answer(locator: BaseLocator, group: list[tuple[str, Path | bytes, Floats]]) -> Located:
    names, photos, scores = zip(*group, strict=True)
    positions = []
    for photo in photos:
        with suppress(OSError):  # it was there to be located; it may be gone by now
            positions.append(read_metadata(photo).position)
    gps = next(filter(None, positions), None)
    return Located([*map(_printable, names)], photos[0], locator.guess(scores), gps)


def _json(content: dict) -> str:
    return json.dumps(content, ensure_ascii=False)


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


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.epilog = EXAMPLES
    add = parser.add_argument
    named = "a file, a folder with photos, or - for a photo on the standard input"
    add("given", nargs="+", metavar="PHOTO", help=named)
    add("--model", type=Path, default=MODEL, help=".pt or .onnx (default: %(default)s)")
    add("--together", action="store_true", help="all photos show one place: one answer for them")
    how = parser.add_mutually_exclusive_group().add_argument
    how("--json", action="store_true", dest="as_json", help="a JSON object a line for each answer")
    how("--geojson", action="store_true", help="one FeatureCollection")
    add("--map", type=Path, dest="page", metavar="FILE.html", help="also write a page with maps")
