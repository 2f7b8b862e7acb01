"""What a search of the planet's Flickr asks for, and which photos match it."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from planet.faults import chance
from planet.photos import YEAR, Photo

NOW = int(datetime(YEAR + 1, 1, 1, tzinfo=UTC).timestamp())
# A search needs one of these; one about positions sees all times only with one of the latter.
LIMITING = {"text", "tags", "bbox", "min_upload_date", "max_upload_date", "min_taken_date"}
_AGENTS = {"tags", "min_upload_date", "min_taken_date"}


class Refused(Exception):
    """An error that the API reports: code and message."""


@dataclass(frozen=True)
class Query:
    """What a search asks for, understood."""

    since: float
    until: float
    wanted: frozenset[str]  # words that must be there
    unwanted: tuple[frozenset[str], ...]  # groups of words that must not be there together
    fits: Callable[[Photo], bool]

    def says(self, said: frozenset[str]) -> bool:
        """Whether a photo beside which these words are said may match."""
        return self.wanted <= said and not any(group <= said for group in self.unwanted)


def is_geo(arguments: dict[str, str]) -> bool:
    """Whether a search is one by position, for which other limits hold."""
    return arguments.get("has_geo") == "1" or "bbox" in arguments


def whole_number(arguments: dict[str, str], name: str, default: int) -> int:
    """A number of at least 1; the default for what is none."""
    given = arguments.get(name, "").strip()
    if not re.fullmatch(r"-?[0-9]{1,9}", given) or (int(given) < 1 and name != "page"):
        return default
    return max(1, int(given))


def understood(arguments: dict[str, str]) -> Query:
    """The query that the arguments of a search mean."""
    since = _bound(arguments, "min_upload_date", -math.inf)
    if is_geo(arguments) and not arguments.keys() & _AGENTS:
        since = NOW - 12 * 3600  # a geo query without a limiting agent sees no more
    until = _bound(arguments, "max_upload_date", math.inf)
    wanted, unwanted = set(), []
    for minus, quoted, plain in re.findall(r'(-?)(?:"([^"]*)"|(\S+))', arguments.get("text", "")):
        group = words(quoted or plain)
        if minus:
            unwanted.append(group)
        else:
            wanted |= group
    return Query(since, until, frozenset(wanted), tuple(unwanted), _fitting(arguments))


def _fitting(arguments: dict[str, str]) -> Callable[[Photo], bool]:
    """What must hold of a photo besides its words and its time of upload."""
    tests: list[Callable[[Photo], bool]] = []
    has_geo = arguments.get("has_geo")
    if has_geo:
        tests.append(lambda photo: (photo.on_map != "no") == (has_geo == "1"))
    accuracy = whole_number(arguments, "accuracy", 1)
    if accuracy > 1:
        tests.append(lambda photo: photo.accuracy >= accuracy)
    if arguments.get("license"):
        licences = arguments["license"].split(",")
        tests.append(lambda photo: str(photo.licence) in licences)
    if arguments.keys() & {"min_taken_date", "max_taken_date"}:
        low = _bound(arguments, "min_taken_date", -math.inf)
        high = _bound(arguments, "max_taken_date", math.inf)
        tests.append(lambda photo: low <= _taken(photo) <= high)
    if "bbox" in arguments:
        tests.append(_in_box(arguments["bbox"]))
    if "tags" in arguments:
        tests.append(_tagged(arguments["tags"], arguments.get("tag_mode") == "all"))
    if arguments.get("media") == "videos":
        tests.append(lambda photo: False)
    return lambda photo: all(test(photo) for test in tests)


def _in_box(bbox: str) -> Callable[[Photo], bool]:
    """Whether the listed position lies within west, south, east, north."""
    try:
        west, south, east, north = map(float, bbox.split(","))
    except ValueError:
        raise Refused(18, "Illogical arguments") from None

    def inside(photo: Photo) -> bool:
        latitude, longitude = map(float, listed_position(photo)[:2])
        return photo.on_map != "no" and south <= latitude <= north and west <= longitude <= east

    return inside


def _tagged(tags: str, all_of_them: bool) -> Callable[[Photo], bool]:
    given = [_plain(tag) for tag in tags.split(",")]
    unwanted = {tag[1:] for tag in given if tag.startswith("-")}
    wanted = {tag for tag in given if tag and not tag.startswith("-")}

    def tagged(photo: Photo) -> bool:
        own = {_plain(tag) for tag in photo.tags}
        enough = wanted <= own if all_of_them else not wanted or bool(wanted & own)
        return enough and not unwanted & own

    return tagged


def _plain(tag: str) -> str:
    return tag.lower().replace(" ", "")


def _bound(arguments: dict[str, str], name: str, default: float) -> float:
    """Unix seconds from Unix seconds or a MySQL datetime."""
    moment = arguments.get(name)
    if not moment:
        return default
    try:
        seconds = float(moment)
    except ValueError:
        try:
            seconds = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
        except ValueError:
            seconds = math.nan
    if not math.isfinite(seconds):
        raise Refused(18, "Illogical arguments")
    return seconds


def _taken(photo: Photo) -> int:
    return int(photo.taken.replace(tzinfo=UTC).timestamp())


def in_order(found: list[Photo], sort: str) -> list[Photo]:
    """The photos sorted; of those that are equal, the earlier upload first."""
    keys: dict[str, Callable[[Photo], float]] = {
        "date-taken": _taken,
        "interestingness": lambda photo: chance("interesting", photo.photo_id),
        "relevance": lambda photo: chance("relevant", photo.photo_id),
    }
    by = keys.get(sort.rpartition("-")[0] or sort, lambda photo: photo.uploaded)
    return sorted(found, key=by, reverse=not sort.endswith("-asc"))


@lru_cache(maxsize=4096)
def words(text: str) -> frozenset[str]:
    """The words of a text, without case."""
    return frozenset(re.findall(r"\w+", text.lower()))


def listed_position(photo: Photo) -> tuple[str | int, str | int, str | int]:
    """Latitude, longitude and accuracy as an answer gives them: 0, 0, 0 without a position."""
    if photo.on_map == "no":
        return 0, 0, 0
    if photo.on_map == "zero":
        return "0.000000", "0.000000", str(photo.accuracy)
    return f"{photo.latitude:.6f}", f"{photo.longitude:.6f}", str(photo.accuracy)
