"""Areas of the map: boxes in degrees, the region that a user names, land, and where to look."""

import math
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import s2sphere
import shapely
from numpy.typing import ArrayLike, NDArray

from nogps.acquire.candidate import known_position
from nogps.base.errors import InputError
from nogps.earth import s2
from nogps.earth.land import on_land
from nogps.earth.towns import towns

KM_PER_DEGREE = 111.195
PEOPLE_PER_KM2 = 3000  # in a town, by which its size follows from its population
BATCH = 20_000  # points sampled at a time
FEWEST_BATCHES, MOST_BATCHES = 2, 400
SOUTHMOST = -60.0  # people do not live further south
MOST_CELLS_COVERED = 20_000  # a region of no more cells is looked at without gaps

_Points = tuple[NDArray[np.float64], NDArray[np.float64]]  # latitudes and longitudes


class Box(NamedTuple):
    """A box that does not cross the antimeridian, in degrees."""

    west: float
    south: float
    east: float
    north: float

    def __str__(self) -> str:
        return ",".join(f"{each:.7f}" for each in self)

    @property
    def square_degrees(self) -> float:
        """Width times height, as services that limit boxes count it."""
        return (self.east - self.west) * (self.north - self.south)

    def quarters(self) -> list["Box"]:
        """The four boxes that it falls into."""
        x, y = (self.west + self.east) / 2, (self.south + self.north) / 2
        rows, columns = ((self.south, y), (y, self.north)), ((self.west, x), (x, self.east))
        return [Box(west, south, east, north) for south, north in rows for west, east in columns]


class Region:
    """The part of the world that photos are wanted from."""

    def __init__(self, shape: shapely.Geometry | None = None):
        self.shape = shape  # longitude and latitude; None: the world
        if shape is not None:
            shapely.prepare(shape)

    @classmethod
    def read(cls, region: str | tuple[float, float, float, float] | Path) -> "Region":
        """From "world", (west, south, east, north) in degrees, or a GeoJSON file with areas.

        West may be greater than east: then the box crosses the antimeridian. InputError: it is
        none of them.
        """
        if region == "world":
            return cls()
        if isinstance(region, tuple):
            return cls(_box(*region))
        return cls(_geojson(Path(region)))

    def contains(self, latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.bool_]:
        """Whether positions in degrees (n,) lie in it, its border included."""
        latitude, longitude = np.atleast_1d(latitude), np.atleast_1d(longitude)
        if self.shape is None:
            return np.ones(len(latitude), dtype=bool)
        return shapely.intersects_xy(self.shape, longitude, latitude)

    def touches(self, box: Box) -> bool:
        """Whether a box holds any part of it."""
        return self.shape is None or bool(self.shape.intersects(shapely.box(*box)))

    @cached_property
    def boxes(self) -> list[Box]:
        """Boxes around its parts: one, or two where it lies on both sides of the antimeridian."""
        if self.shape is None:
            return [Box(-180, SOUTHMOST, 180, 90)]
        around = Box(*self.shape.bounds)
        if around.east - around.west < 180:
            return [around]
        parts = shapely.get_parts(self.shape)
        halves = [[p for p in parts if p.centroid.x < 0], [p for p in parts if p.centroid.x >= 0]]
        return [Box(*shapely.total_bounds(half).tolist()) for half in halves if half]


def _box(west: float, south: float, east: float, north: float) -> shapely.Geometry:
    sound = -90 <= south < north <= 90 and all(abs(each) <= 180 for each in (west, east))
    if not sound or west == east:
        raise InputError(
            f"sampling.region: [{west:g}, {south:g}, {east:g}, {north:g}] is no box; give west, "
            "south, east, north in degrees, south before north"
        )
    if west < east:
        return shapely.box(west, south, east, north)
    return shapely.union_all(shapely.box([west, -180], south, [180, east], north))


def _geojson(path: Path) -> shapely.Geometry:
    try:
        shape = shapely.from_geojson(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"sampling.region: {path} cannot be read ({error.strerror}); give world, [west, south, "
            "east, north] or a GeoJSON file"
        ) from None
    except (shapely.errors.GEOSException, UnicodeDecodeError):
        raise InputError(f"sampling.region: {path} is not GeoJSON; export the area again") from None
    # By structure: parts that overlap are one area; by lines what they share would be a hole.
    shape = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    shape = shapely.buffer(shape, 0)  # without points and lines
    if shape.is_empty:
        raise InputError(f"sampling.region: {path} has no area; give polygons, not points or lines")
    west, south, east, north = shape.bounds
    if west < -180 or south < -90 or east > 180 or north > 90:
        raise InputError(
            f"sampling.region: {path} leaves the map; give longitude from -180 to 180, then "
            "latitude, and cut areas at the antimeridian"
        )
    return shape


def cell_boxes(cell: int) -> list[Box]:
    """The boxes, one or two, that hold an S2 cell."""
    bounds = s2sphere.Cell(s2sphere.CellId(int(cell))).get_rect_bound()
    west, east = bounds.lng_lo().degrees, bounds.lng_hi().degrees
    # A seventh decimal outwards, so that no rounding cuts anything off.
    south = max(-90.0, math.floor(bounds.lat_lo().degrees * 1e7) / 1e7)
    north = min(90.0, math.ceil(bounds.lat_hi().degrees * 1e7) / 1e7)
    west, east = max(-180.0, math.floor(west * 1e7) / 1e7), min(180.0, math.ceil(east * 1e7) / 1e7)
    if west <= east:
        return [Box(west, south, east, north)]
    return [Box(west, south, 180.0, north), Box(-180.0, south, east, north)]


def geojson_point(geometry: object) -> tuple[float, float] | None:
    """Latitude and longitude of a GeoJSON point; None where it is none, or nowhere."""
    try:
        longitude, latitude = geometry["coordinates"][:2]  # type: ignore[index]
    except (LookupError, TypeError, ValueError):
        return None
    return known_position(latitude, longitude)


def cells_to_search(
    region: Region, places: str, level: int, most: int, weights: Mapping[str, float], seed: int
) -> NDArray[np.uint64]:
    """Ids, each once, of at most `most` S2 cells of a level, in the order to look into them.

    They hold points sampled in the region: for `places` "population" in and around towns, in
    proportion to their people; for "land" evenly over land; for "weights" over land in proportion
    to the weights of regions (S2 tokens of one level; 1 where there is none). A region of few
    cells is gone through to the last of them. InputError: nothing can be sampled, as at sea.
    """
    rng = np.random.default_rng(seed)
    sampled: dict[int, None] = {}
    for batch in range(MOST_BATCHES):
        before = len(sampled)
        latitude, longitude = _points(region, places, weights, rng)
        inside = region.contains(latitude, longitude) & (latitude >= SOUTHMOST)
        cells = s2.parent(s2.cell_ids(latitude[inside], longitude[inside]), level)
        sampled |= dict.fromkeys(cells.tolist())
        few = len(sampled) - before <= len(sampled) / 1000
        if len(sampled) >= most or (batch >= FEWEST_BATCHES and few):
            break
    rest = [cell for cell in _covering(region, level) if cell not in sampled]
    ordered = [*sampled, *rng.permutation(np.array(rest, dtype=np.uint64)).tolist()]
    if not ordered:
        raise InputError(
            f"sampling.region: nothing was found there by sampling.places: {places}; choose "
            "another region, or places: land"
        )
    return np.array(ordered[:most], dtype=np.uint64)


def _points(
    region: Region, places: str, weights: Mapping[str, float], rng: np.random.Generator
) -> _Points:
    """Sampled points; some of them may lie outside the region."""
    if places == "population":
        return _near_towns(region, rng)
    boxes = region.boxes
    sizes = np.array([(b.east - b.west) * (_z(b.north) - _z(b.south)) for b in boxes])
    box = rng.choice(len(boxes), size=BATCH, p=sizes / sizes.sum())
    west, south, east, north = np.array(boxes)[box].T
    longitude = rng.uniform(west, east)
    latitude = np.degrees(np.arcsin(rng.uniform(_z(south), _z(north))))
    chance = rng.random(BATCH)
    wanted = on_land(latitude, longitude)
    if places == "weights":
        weight = region_weights(latitude, longitude, weights)
        wanted &= chance < weight / max(1.0, *weights.values())
    return latitude[wanted], longitude[wanted]


def _z(latitude: ArrayLike) -> NDArray[np.float64]:
    """The height above the equator's plane, in which areas on a sphere are even."""
    return np.sin(np.radians(latitude))


def region_weights(
    latitude: NDArray[np.float64], longitude: NDArray[np.float64], weights: Mapping[str, float]
) -> NDArray[np.float64]:
    """The weights (n,) of positions, by S2 tokens of one level; 1 where a region has none."""
    known = np.array([s2.from_token(token) for token in weights], dtype=np.uint64)
    regions = s2.parent(s2.cell_ids(latitude, longitude), s2.level(known[:1]))
    by_region = dict(zip(known.tolist(), weights.values(), strict=True))
    return np.array([by_region.get(each, 1.0) for each in regions.tolist()])


def _near_towns(region: Region, rng: np.random.Generator) -> _Points:
    latitude, longitude, people = _town_columns()
    radius = np.sqrt(people / PEOPLE_PER_KM2 / math.pi) / KM_PER_DEGREE
    reach = 3 * radius.max()
    near = np.zeros(len(people), dtype=bool)
    for box in region.boxes:
        wide = reach / max(0.05, math.cos(math.radians(max(abs(box.south), abs(box.north)))))
        across = (longitude - (box.west - wide)) % 360 <= min(360, box.east - box.west + 2 * wide)
        near |= across & (latitude >= box.south - reach) & (latitude <= box.north + reach)
    if not near.any():
        return np.empty(0), np.empty(0)
    chosen = rng.choice(np.flatnonzero(near), size=BATCH, p=people[near] / people[near].sum())
    # Half of the points of a town fall within its radius, the others around it, ever thinner.
    away = radius[chosen] * np.sqrt(2 * rng.standard_exponential(BATCH) * 0.72)
    bearing = rng.uniform(0, 2 * math.pi, BATCH)
    north = np.clip(latitude[chosen] + away * np.cos(bearing), -89.9, 89.9)
    east = longitude[chosen] + away * np.sin(bearing) / np.cos(np.radians(latitude[chosen]))
    return north, (east + 180) % 360 - 180


@cache
def _town_columns() -> NDArray[np.float64]:
    """Latitude, longitude in degrees and people, one at least, of each town (3, n)."""
    rows = [(town.latitude, town.longitude, max(1.0, town.population)) for town in towns()]
    return np.array(rows).T


def _covering(region: Region, level: int) -> list[int]:
    """All cells of a level that touch the region, if they are few; else none."""
    edge = 90 / 2**level / 1.5  # degrees; the shortest edges of cells are about so long
    found: dict[int, None] = {}
    for box in region.boxes:
        middle = math.cos(math.radians(min(abs(box.south), abs(box.north))))
        tall = math.ceil((box.north - box.south) / edge * 3) + 3
        wide = math.ceil((box.east - box.west) * middle / edge * 3) + 3
        if region.shape is None or tall * wide > 20 * MOST_CELLS_COVERED:
            return []
        latitude, longitude = np.meshgrid(
            np.linspace(max(-90, box.south - edge), min(90, box.north + edge), tall + 6),
            np.linspace(max(-180, box.west - edge), min(180, box.east + edge), wide + 6),
        )
        cells = s2.parent(s2.cell_ids(latitude.ravel(), longitude.ravel()), level)
        found |= dict.fromkeys(np.unique(cells).tolist())
    return [cell for cell in found if any(region.touches(box) for box in cell_boxes(cell))]
