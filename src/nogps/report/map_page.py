"""The page that `nogps locate --map` writes: answers on maps, in one HTML file."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nogps.earth import geo
from nogps.model.base_locator import BaseLocator
from nogps.model.classes import Partition
from nogps.model.guess import Guess
from nogps.photos import images
from nogps.photos.images import BadImage
from nogps.report import svg
from nogps.report.template import write_page

SHOWN = 500  # photos with a picture of their own; the page grows by 15 kB with each
THUMBNAIL = 320  # pixels


@dataclass(frozen=True)
class Located:
    """One answer, for a photo or for several of one place."""

    names: list[str]
    photo: Path | bytes  # the one to show
    guess: Guess
    gps: tuple[float, float] | None = None  # degrees, where the files say they were taken

    @property
    def off_km(self) -> float | None:
        """Kilometres from `gps` to the guess; None without GPS."""
        if self.gps is None:
            return None
        return float(geo.distance_km(*self.gps, self.guess.latitude, self.guess.longitude))

    def to_dict(self) -> dict:
        """The answer as JSON holds it."""
        return {**self._about(), **self.guess.to_dict()}

    def to_geojson(self) -> dict:
        """A GeoJSON Feature."""
        feature = self.guess.to_geojson()
        return feature | {"properties": self._about() | feature["properties"]}

    def _about(self) -> dict:
        names = {"photo": self.names[0]} if len(self.names) == 1 else {"photos": self.names}
        gps = self.gps and {"latitude": self.gps[0], "longitude": self.gps[1]}
        return {**names, "gps": gps, "off_km": self.off_km}


def write_map_page(path: Path, located: Sequence[Located], locator: BaseLocator) -> None:
    """Write the page of some answers, which needs no network; those after SHOWN are dots only."""
    land, borders = svg.world()
    places = np.array([(each.guess.latitude, each.guess.longitude) for each in located])
    content = {
        "located": located,
        "land": land,
        "borders": borders,
        "box": svg.view_box(places),
        "guesses": "".join(svg.dot(each) for each in places),
        "truths": "".join(svg.dot(each.gps) for each in located if each.gps),
        "cards": [_card(each, locator.partition) for each in located[:SHOWN]],
        "learned": locator.learned,
    }
    write_page(path, "map_page.html", content)


def _card(one: Located, partition: Partition) -> dict:
    guess = one.guess
    here, radii = (guess.latitude, guess.longitude), (guess.radius_50_km, guess.radius_90_km)
    spread = dict(zip(partition.tokens.tolist(), partition.spread_km(), strict=True))
    cells = [(cell.latitude, cell.longitude) for cell in guess.cells]
    # The square root: a tenth of the probability is still to be seen.
    discs = [
        (svg.circle(at, spread[cell.token]), round(0.7 * cell.probability**0.5, 3))
        for at, cell in zip(cells, guess.cells, strict=True)
    ]
    drawn = svg.photo_map(one.gps, here, radii, cells)
    return {"one": one, "jpeg": _thumbnail(one.photo), "discs": discs, **drawn}


def _thumbnail(photo: Path | bytes) -> str:
    """In base64; empty if the file has gone since it was located."""
    try:
        body = photo if isinstance(photo, bytes) else photo.read_bytes()
        return b64encode(images.thumbnail(body, THUMBNAIL)).decode()
    except (OSError, BadImage):
        return ""
