"""Where the planet's Street View has panoramas: near towns, on a lattice of about 60 m.

Nothing is stored: a panorama is a pure function of the seed and of its cell in the lattice, and
its id says which cell that is.
"""

import base64
import math
import random
from dataclasses import dataclass
from functools import lru_cache

from nogps.earth import towns
from planet.photos import hashed

FURTHEST_RADIUS_M = 3000  # a search goes no further, whatever radius is asked for
REACH_KM = 60  # from a town; there are no panoramas further out

_OUTDOOR = ("official", "photosphere")  # kinds found also by `source=outdoor`
_ROW_DEGREES = 0.00054  # 60 m
_SHARE = 0.7  # of the cells that have a panorama
_PEOPLE = ["Ana Horvat", "John Smith", "Mei Tanaka", "Luis Ortega", "Petra Novak", "Sam Okoye"]
_SHOPS = ["Corner Café", "City Museum", "Hotel Astoria", "Book Barn", "Casa Verde"]
_BY_PEOPLE = "CAoSLEFGMVFpcE"  # how the ids of photospheres begin


@dataclass(frozen=True)
class Panorama:
    """One panorama."""

    pano_id: str
    latitude: float  # degrees, 7 decimals
    longitude: float
    date: str  # YYYY-MM
    copyright: str
    kind: str  # "official", "photosphere", "unknown" (a photosphere of unknown kind), "indoor"
    lists_date: bool
    lists_copyright: bool


class Panoramas:
    """All panoramas of one planet."""

    def __init__(self, seed: int):
        self.seed = seed
        self.at = lru_cache(maxsize=20_000)(self._at)

    def nearest(
        self, latitude: float, longitude: float, radius_m: float, outdoor: bool = False
    ) -> Panorama | None:
        """The panorama nearest to a position, if one is that near."""
        radius_m = min(radius_m, FURTHEST_RADIUS_M)
        if not nearest_town(latitude, longitude, REACH_KM + radius_m / 1000):
            return None
        best, best_m = None, radius_m
        for ring in range(2 + math.ceil(radius_m / 59)):
            if best and best_m < 59 * (ring - 1):
                break  # whatever is in this ring is further away
            for panorama in self._ring(latitude, longitude, ring):
                distance = metres(latitude, longitude, panorama.latitude, panorama.longitude)
                fits = not outdoor or panorama.kind in _OUTDOOR
                if fits and distance <= best_m:
                    best, best_m = panorama, distance
        return best

    def _ring(self, latitude: float, longitude: float, ring: int) -> list[Panorama]:
        middle = math.floor(latitude / _ROW_DEGREES)
        found = []
        for row in range(middle - ring, middle + ring + 1):
            if not abs(row * _ROW_DEGREES) < 85:
                continue
            column = math.floor((longitude + 180) / 360 * _columns(row))
            step = 1 if abs(row - middle) == ring else max(1, 2 * ring)
            columns = range(column - ring, column + ring + 1, step)
            found += [self.at(row, each % _columns(row)) for each in columns]
        return [panorama for panorama in found if panorama]

    def by_id(self, pano_id: str) -> Panorama | None:
        """The panorama with this id, if there is one."""
        try:
            raw = base64.urlsafe_b64decode(pano_id.removeprefix(_BY_PEOPLE)[-22:] + "==")
        except ValueError:
            return None
        if len(raw) != 16:
            return None
        cell = int.from_bytes(raw[8:], "big") ^ self._hash(raw[:8].hex())
        row, column = (cell >> 32) - 2**31, cell & 0xFFFFFFFF
        if abs(row * _ROW_DEGREES) >= 85 or column >= _columns(row):
            return None
        panorama = self.at(row, column)
        return panorama if panorama and panorama.pano_id == pano_id else None

    def _hash(self, text: str) -> int:
        return hashed(f"{self.seed} {text}", 8)

    def _id(self, row: int, column: int) -> str:
        """22 characters: check bits, and the cell under a pad that follows from them."""
        check = self._hash(f"{row} {column}").to_bytes(8, "big")
        cell = ((row + 2**31) << 32 | column) ^ self._hash(check.hex())
        return base64.urlsafe_b64encode(check + cell.to_bytes(8, "big")).decode().rstrip("=")

    def _at(self, row: int, column: int) -> Panorama | None:
        rng = random.Random(f"panorama {self.seed} {row} {column}")
        if rng.random() >= _SHARE:
            return None
        latitude = round((row + rng.random()) * _ROW_DEGREES, 7)
        longitude = round((column + rng.random()) * 360 / _columns(row) - 180, 7)
        if not nearest_town(latitude, longitude, REACH_KM):
            return None
        kind = rng.choices(["official", "photosphere", "unknown", "indoor"], [86, 4, 4, 6])[0]
        by_people = kind in ("photosphere", "unknown")
        owner = rng.choice(_PEOPLE) if by_people else "Google"
        if kind == "indoor" and rng.random() < 0.5:
            owner = rng.choice(_SHOPS)
        return Panorama(
            pano_id=_BY_PEOPLE * by_people + self._id(row, column),
            latitude=latitude,
            longitude=longitude,
            date=f"{rng.randrange(2008, 2025)}-{rng.randrange(1, 13):02}",
            copyright=f"© {owner}",
            kind=kind,
            lists_date=kind != "official" or rng.random() > 0.03,
            lists_copyright=kind != "official" or rng.random() > 0.01,
        )


@lru_cache(maxsize=10_000)
def _columns(row: int) -> int:
    """How many cells there are around the planet: each as wide as it is high."""
    return max(1, math.floor(360 / _ROW_DEGREES * math.cos(math.radians(row * _ROW_DEGREES))))


def metres(latitude: float, longitude: float, latitude2: float, longitude2: float) -> float:
    """The distance on the sphere, to the millimetre."""
    lat, lat2 = math.radians(latitude), math.radians(latitude2)
    half = math.radians(longitude2 - longitude) / 2
    chord = math.sin((lat2 - lat) / 2) ** 2 + math.cos(lat) * math.cos(lat2) * math.sin(half) ** 2
    return round(2 * 6_371_000 * math.asin(min(1.0, math.sqrt(chord))), 3)


@lru_cache(maxsize=20_000)
def nearest_town(latitude: float, longitude: float, within_km: float) -> towns.Town | None:
    """The nearest town, if there is one that near."""
    (town,) = towns.nearest_town(latitude, longitude)
    near = metres(latitude, longitude, town.latitude, town.longitude) <= within_km * 1000
    return town if near else None
