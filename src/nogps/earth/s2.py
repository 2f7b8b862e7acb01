"""S2 cells as NumPy arrays of ids: the same bits as s2sphere, tens of times as fast.

An id is a uint64: three bits of cube face, two bits a level along the face's Hilbert curve, a one,
zeros. The cells of one id's descendants are therefore one interval of leaf ids. See
http://s2geometry.io/devguide/s2cell_hierarchy.
"""

import math
import re

import numpy as np
import s2sphere
from numpy.typing import ArrayLike, NDArray

from nogps.base.errors import InputError

MAX_LEVEL = 30
FACES = np.arange(1, 12, 2, dtype=np.uint64) << np.uint64(60)  # ids of the cube faces

_ONE = np.uint64(1)
_SIDE = 1 << MAX_LEVEL  # leaf cells along an edge of a cube face
_CHUNK = 1 << 13  # points whose temporary arrays stay in a core's cache
_STEP_BITS = 6  # levels of the Hilbert curve per table look-up

# Trigonometry that differs in its last bits moves a point by less than 4e-6 leaf cells.
_MARGIN = 2.0**-15

# The Hilbert curve: quadrants (2 i + j) in the order of the curve, by orientation (bit 0: i and j
# swapped, bit 1: both inverted), and what each quadrant of the curve does to the orientation.
_CURVE = np.array([[0, 1, 3, 2], [0, 2, 3, 1], [3, 2, 0, 1], [3, 1, 0, 2]])
_TURN = np.array([1, 0, 0, 3])


def positions(
    latitude: ArrayLike, longitude: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latitudes and longitudes as two float64 arrays (n,); InputError if one is off the globe."""
    degrees = (np.atleast_1d(np.asarray(each, dtype=np.float64)) for each in (latitude, longitude))
    latitude, longitude = np.broadcast_arrays(*degrees)
    # Written so that NaN is caught as well.
    wrong = ~((np.abs(latitude) <= 90) & (np.abs(longitude) <= 180))
    if wrong.any():
        first = int(wrong.argmax())
        raise InputError(
            f"position {first} is latitude {latitude[first]}, longitude {longitude[first]}; "
            "give latitudes from -90 to 90 and longitudes from -180 to 180 degrees"
        )
    return latitude, longitude


def cell_ids(latitude: ArrayLike, longitude: ArrayLike) -> NDArray[np.uint64]:
    """Ids (n,) of the leaf cells, about 1 cm across, that hold positions (n,); see `positions`."""
    latitude, longitude = positions(latitude, longitude)
    ids = np.empty(latitude.shape, dtype=np.uint64)
    for start in range(0, ids.size, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        ids[chunk] = _ids_of_chunk(latitude[chunk], longitude[chunk])
    return ids


def parent(ids: ArrayLike, level: ArrayLike) -> NDArray[np.uint64]:
    """The cells that contain the cells at a level, or at one each; InputError if it is too fine."""
    ids = np.asarray(ids, dtype=np.uint64)
    level = np.asarray(level)
    if np.any(level < 0) or np.any(level > MAX_LEVEL):
        raise InputError(f"level is {level}; give an S2 level from 0 to {MAX_LEVEL}")
    bit = _ONE << (2 * (MAX_LEVEL - level)).astype(np.uint64)
    if np.any(_lowest_bit(ids) > bit):
        raise InputError(f"level is {level}, finer than a cell; a parent is coarser than its cell")
    return (ids & ~(bit - _ONE)) | bit


def level(ids: ArrayLike) -> NDArray[np.int64]:
    """Levels of the cells: 0 for a cube face to 30 for a leaf."""
    trailing_zeros = np.bitwise_count(_lowest_bit(ids) - _ONE)
    return MAX_LEVEL - trailing_zeros.astype(np.int64) // 2


def range_min(ids: ArrayLike) -> NDArray[np.uint64]:
    """The first leaf id within each cell."""
    return np.asarray(ids, dtype=np.uint64) - (_lowest_bit(ids) - _ONE)


def range_max(ids: ArrayLike) -> NDArray[np.uint64]:
    """The last leaf id within each cell."""
    return np.asarray(ids, dtype=np.uint64) + (_lowest_bit(ids) - _ONE)


def children(ids: ArrayLike) -> NDArray[np.uint64]:
    """The four cells (n, 4), in the order of the curve, that make up each cell (n,)."""
    ids = np.asarray(ids, dtype=np.uint64)[:, np.newaxis]
    half = _lowest_bit(ids) >> _ONE  # two children lie before the cell's own id, two after
    return ids - half - (half >> _ONE) + half * np.arange(4, dtype=np.uint64)


def centre(ids: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latitudes and longitudes (n,) of the cells' centres, in degrees, as s2sphere has them."""
    ids = np.atleast_1d(np.asarray(ids, dtype=np.uint64))
    points = [s2sphere.CellId(int(cell)).to_lat_lng() for cell in ids]
    degrees = [(point.lat().degrees, point.lng().degrees) for point in points]
    latitude, longitude = np.array(degrees, dtype=np.float64).reshape(-1, 2).T
    return latitude, longitude


def to_token(cell_id: int) -> str:
    """The id in hexadecimal without the zeros at its end, as S2 tools write it."""
    return f"{int(cell_id):016x}".rstrip("0")


def from_token(token: str) -> np.uint64:
    """The id that `to_token` wrote; InputError if the token names no S2 cell."""
    if re.fullmatch(r"[0-9a-f]{0,15}[1-9a-f]", token):
        number = int(token.ljust(16, "0"), 16)
        lowest_bit = number & -number
        if number >> 61 < 6 and lowest_bit.bit_length() % 2 == 1:
            return np.uint64(number)
    raise InputError(f"{token!r} is no S2 cell; give a token such as 80858004 or 47e9")


def _lowest_bit(ids: ArrayLike) -> NDArray[np.uint64]:
    ids = np.asarray(ids, dtype=np.uint64)
    return ids & (~ids + _ONE)


def _ids_of_chunk(latitude: NDArray, longitude: NDArray) -> NDArray[np.uint64]:
    face, ij, doubtful = _project(latitude, longitude, np.sin, np.cos)
    # NumPy's trigonometry differs between processors. Where that could move a point across the
    # edge of its leaf cell, libm decides, as it does in s2sphere.
    (again,) = doubtful.nonzero()
    if again.size:
        libm = (np.vectorize(each, otypes=[np.float64]) for each in (math.sin, math.cos))
        face[again], ij[:, again], _ = _project(latitude[again], longitude[again], *libm)
    return _along_curve(face, ij)


def _project(latitude, longitude, sin, cos):
    """Faces (n,), unswapped leaf coordinates (2, n), and which are too near an edge to trust.

    The operations and their order are s2sphere's. Faces meet where a coordinate reaches its end,
    so that a doubtful face shows as a doubtful coordinate.
    """
    latitude = latitude * (math.pi / 180)
    longitude = longitude * (math.pi / 180)
    cos_latitude = cos(latitude)
    x = cos(longitude) * cos_latitude
    y = sin(longitude) * cos_latitude
    z = sin(latitude)
    x_size, y_size = np.abs(x), np.abs(y)
    on_x = x_size > y_size
    on_z = np.maximum(x_size, y_size) <= np.abs(z)
    axis = np.where(on_z, 2, np.where(on_x, 0, 1))
    depth = np.where(on_z, z, np.where(on_x, x, y))
    uv = np.stack([np.where(axis == 0, y, -x), np.where(on_z, -y, z)])
    uv /= depth
    # S2's quadratic projection, which makes cells of one level alike in area.
    half = 0.5 * np.sqrt(1 + 3 * np.abs(uv))
    st = _SIDE * np.where(uv >= 0, half, 1 - half)
    doubtful = (np.abs(st - np.rint(st)) < _MARGIN).any(axis=0)
    return axis + 3 * (depth < 0), np.minimum(st.astype(np.int64), _SIDE - 1), doubtful


def _curve_table() -> NDArray[np.int64]:
    """Six levels of the curve at once: (i, j, orientation) to (position, new orientation)."""
    index = np.arange(1 << (2 * _STEP_BITS + 2))
    i, j, orientation = index >> (_STEP_BITS + 2), index >> 2, index & 3
    place = np.argsort(_CURVE, axis=1)
    position = np.zeros_like(index)
    for bit in reversed(range(_STEP_BITS)):
        quadrant = place[orientation, 2 * (i >> bit & 1) + (j >> bit & 1)]
        position = position << 2 | quadrant
        orientation = orientation ^ _TURN[quadrant]
    return position << 2 | orientation


_TABLE = _curve_table()


def _along_curve(face: NDArray[np.int64], ij: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Ids (n,) of the leaf cells at leaf coordinates on cube faces."""
    # The curve starts swapped on odd faces, and faces 3 to 5 have u and v swapped.
    orientation = (face ^ (face >= 3)) & 1
    mask = (1 << _STEP_BITS) - 1
    position = face
    for shift in range(MAX_LEVEL - _STEP_BITS, -1, -_STEP_BITS):
        i, j = ij >> shift & mask
        entry = _TABLE[i << (_STEP_BITS + 2) | j << 2 | orientation]
        position = position << (2 * _STEP_BITS) | entry >> 2
        orientation = entry & 3
    return position.astype(np.uint64) << _ONE | _ONE
