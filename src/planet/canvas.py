"""What the planet's pictures are drawn on: a perspective camera over coloured shapes in metres."""

import math
import random
from dataclasses import dataclass
from types import SimpleNamespace

from PIL import ImageDraw

from planet.looks import Colour

EYE_M = 1.7  # height of the camera


@dataclass
class Canvas:
    """A drawing under way: the paper, the camera, and all that colours depend on."""

    draw: ImageDraw.ImageDraw
    rng: random.Random
    scenery: SimpleNamespace  # see looks
    light: SimpleNamespace
    width: int
    height: int
    horizon: int
    centre: int
    focal: float

    def point(self, x: float, y: float, z: float) -> tuple[int, int]:
        """The pixel of a point x metres to the right, y above the ground and z ahead."""
        scale = self.focal / z
        across, down = math.floor(x * scale), math.floor((EYE_M - y) * scale)
        return self.centre + across, self.horizon + down

    def lit(self, colour: Colour, facing: float = 1.0, z: float = 10.0) -> Colour:
        """A surface's colour under this light, seen through z metres of haze."""
        haze = min(0.85, self.light.haze * z / 100)
        return tuple(
            math.floor(own * light * facing / 255 * (1 - haze) + sky * haze)
            for own, light, sky in zip(colour, self.light.colour, self.light.sky[1], strict=True)
        )

    def polygon(self, points: list[tuple], colour: Colour, facing: float = 1.0) -> None:
        """Fill a polygon given in metres."""
        pixels = [self.point(*point) for point in points]
        self.draw.polygon(pixels, fill=self.lit(colour, facing, points[0][2]))

    def box(self, x0, y0, x1, y1, z, colour: Colour, facing: float = 1.0) -> None:
        """Fill a rectangle that faces the camera, in metres."""
        (left, bottom), (right, top) = self.point(x0, y0, z), self.point(x1, y1, z)
        corners = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
        self.draw.rectangle(corners, fill=self.lit(colour, facing, z))

    def ball(self, x, y, z, radius, colour: Colour, facing: float = 1.0, squash=1.0) -> None:
        """Fill an ellipse around a point, in metres."""
        (left, bottom) = self.point(x - radius, y - radius * squash, z)
        (right, top) = self.point(x + radius, y + radius * squash, z)
        self.draw.ellipse((left, top, right, bottom), fill=self.lit(colour, facing, z))
