"""Draws the simulated planet's photos: crude pictures that carry the cues of real places.

What is to be seen follows from `looks`; everything else (viewpoint, what stands in the way, the
camera) is drawn per photo. Drawing uses whole pixels and Pillow alone, so a photo's bytes are
the same on every x86-64 machine.
"""

import io
import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from planet.looks import BLACK, WHITE, Colour, Light, Place, hsv, light_of, mix, place_of
from planet.photos import Photo

EYE_M = 1.7  # height of the camera


@dataclass
class View:
    """A drawing under way: the paper, the camera, and all that colours depend on."""

    draw: ImageDraw.ImageDraw
    rng: random.Random
    place: Place
    light: Light
    width: int
    height: int
    horizon: int
    centre: int
    focal: float

    def point(self, x: float, y: float, z: float) -> tuple[int, int]:
        """The pixel of a point x metres to the right, y above the ground and z ahead."""
        scale = self.focal / z
        return (
            self.centre + math.floor(x * scale),
            self.horizon + math.floor((EYE_M - y) * scale),
        )

    def lit(self, colour: Colour, facing: float = 1.0, z: float = 10.0) -> Colour:
        """A surface's colour under this light, seen through z metres of haze."""
        haze = min(0.85, self.light.haze * z / 100)
        return tuple(
            math.floor(own * light * facing / 255 * (1 - haze) + sky * haze)
            for own, light, sky in zip(colour, self.light.colour, self.light.sky[1], strict=True)
        )

    def polygon(
        self, points: list[tuple[float, float, float]], colour: Colour, facing: float = 1.0
    ) -> None:
        """Fill a polygon given in metres."""
        depth = points[0][2]
        pixels = [self.point(*point) for point in points]
        self.draw.polygon(pixels, fill=self.lit(colour, facing, depth))

    def box(self, x0, y0, x1, y1, z, colour: Colour, facing: float = 1.0) -> None:
        """Fill a rectangle that faces the camera, in metres."""
        (left, bottom), (right, top) = self.point(x0, y0, z), self.point(x1, y1, z)
        self.draw.rectangle(
            (min(left, right), min(top, bottom), max(left, right), max(top, bottom)),
            fill=self.lit(colour, facing, z),
        )

    def ball(self, x, y, z, radius, colour: Colour, facing: float = 1.0, squash=1.0) -> None:
        """Fill an ellipse around a point, in metres."""
        (left, bottom) = self.point(x - radius, y - radius * squash, z)
        (right, top) = self.point(x + radius, y + radius * squash, z)
        self.draw.ellipse((left, top, right, bottom), fill=self.lit(colour, facing, z))


def jpeg(photo: Photo, longest: int | None = None) -> bytes:
    """The photo as JPEG bytes, its longest side shrunk to `longest` pixels if that is given."""
    rng = random.Random(f"view {photo.view}")
    image = _scene(photo, rng)
    # From here on the takes of a burst differ.
    camera = random.Random(f"take {photo.view} {photo.take}")
    image = _through_the_lens(image, photo, rng, camera)
    if longest and longest < max(image.size):
        width, height = (side * longest // max(image.size) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BOX)
    image = _develop(image, rng, camera)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=camera.randrange(60, 93))
    return buffer.getvalue()


# --- scenes ---


def _sky(view: View) -> None:
    top, bottom = view.light.sky
    bands = 14
    for band in range(bands):
        y = view.horizon * band // bands
        view.draw.rectangle(
            (0, y, view.width, view.horizon), fill=mix(top, bottom, band / (bands - 1))
        )
    bright = mix(bottom, view.light.colour, 0.6)
    for _ in range(view.rng.randrange(7)):
        x, y = view.rng.randrange(view.width), view.rng.randrange(1 + max(1, view.horizon))
        for _ in range(4):
            x += view.rng.randrange(-view.width // 12, view.width // 12)
            half = view.width // view.rng.randrange(8, 22)
            view.draw.ellipse((x - half, y - half // 3, x + half, y + half // 3), fill=bright)


def _shadow(view: View, x: float, z: float, half_width: float, height: float) -> None:
    """What a thing of that size throws on the ground: long where the sun is low."""
    if not view.light.clear:
        return
    slope = round(1 / math.tan(math.radians(max(5.0, view.light.elevation))), 4)
    length = min(4.0, slope) * height
    far_x, far_z = x - view.light.right * length, max(1.5, z - view.light.ahead * length)
    view.polygon(
        [
            (x - half_width, 0, z),
            (x + half_width, 0, z),
            (far_x + half_width, 0, far_z),
            (far_x - half_width, 0, far_z),
        ],
        (60, 60, 70),
        0.7,
    )


def _scene(photo: Photo, rng: random.Random) -> Image.Image:
    """The photo's scene, with a margin on every side for the lens to move in."""
    margin = max(photo.width, photo.height) // 12
    width, height = photo.width + 2 * margin, photo.height + 2 * margin
    image = Image.new("RGB", (width, height))
    light = light_of(photo, rng)
    view = View(
        draw=ImageDraw.Draw(image),
        rng=rng,
        place=place_of(photo),
        light=light,
        width=width,
        height=height,
        horizon=math.floor(height * rng.uniform(0.35, 0.72)),
        centre=math.floor(width * rng.uniform(0.15, 0.85)),
        focal=max(photo.width, photo.height) * rng.uniform(0.75, 1.4),
    )
    {
        "street": _street,
        "square": _square,
        "country": _country,
        "water": _water,
        "detail": _detail,
    }[photo.scene](view)
    return image


def _ground(view: View, colour: Colour) -> None:
    view.draw.rectangle((0, view.horizon, view.width, view.height), fill=view.lit(colour, 0.9, 30))
    for _ in range(25):  # patches: no ground is one colour
        z = view.rng.uniform(3, 40)
        x = view.rng.uniform(-1, 1) * z
        view.ball(x, 0, z, view.rng.uniform(0.3, 2), colour, view.rng.uniform(0.75, 1), 0.15)


def _street(view: View) -> None:
    """Along a street, houses on both sides."""
    rng, place = view.rng, view.place
    _sky(view)
    half = rng.uniform(3.2, 6)
    offset = rng.uniform(-half, half)  # where on the street the camera stands
    pavement = rng.uniform(1.5, 4)
    _ground(view, place.paving if rng.random() < 0.8 else place.ground)
    if rng.random() < 0.5:
        _landmark(view, rng.uniform(-30, 30), rng.uniform(90, 160))
    _road(view, -half - offset, half - offset)
    left, right = -half - pavement - offset, half + pavement - offset
    houses = _houses_along(view, left, -1) + _houses_along(view, right, 1)
    things = [(z, lambda house=house: _house_beside(view, *house)) for z, house in houses]
    for z in _depths(rng, rng.randrange(2, 7), 6, 60):
        side = rng.choice([-1, 1])
        x = side * half * 0.5 - offset
        away = (side < 0) == place.drives_left
        things.append((z, lambda x=x, z=z, away=away: _vehicle(view, x, z, away)))
    for z in _depths(rng, rng.randrange(1, 6), 5, 45):
        x = rng.choice([left + 1, right - 1])
        thing = rng.choice([_tree, _tree, _sign, _flag, _lamp, _person, _person])
        things.append((z, lambda thing=thing, x=x, z=z: thing(view, x, z)))
    for _, draw in sorted(things, key=lambda thing: -thing[0]):
        draw()
    _in_the_way(view)


def _depths(rng: random.Random, count: int, near: float, far: float) -> list[float]:
    return [near * (far / near) ** rng.random() for _ in range(count)]


def _road(view: View, left: float, right: float) -> None:
    grey = view.rng.randrange(70, 125)
    far, near = 150, 2.0
    view.polygon(
        [(left, 0, far), (right, 0, far), (right, 0, near), (left, 0, near)],
        (grey, grey, grey + 4),
    )
    for edge in (left - 0.35, right):
        kerb = [(edge, 0, far), (edge + 0.35, 0, far), (edge + 0.35, 0, near), (edge, 0, near)]
        view.polygon(kerb, view.place.kerb)
    middle = (left + right) / 2
    if view.rng.random() < 0.8:
        for z in range(3, 60, 4):
            end = z + (2.2 if view.place.centre_line == WHITE else 4)
            strip = [(middle - 0.14, 0, z), (middle + 0.14, 0, z)]
            strip += [(middle + 0.14, 0, end), (middle - 0.14, 0, end)]
            view.polygon(strip, view.place.centre_line)


def _houses_along(view: View, x: float, side: int) -> list[tuple[float, tuple]]:
    """Houses from near to far: (depth, arguments of `_house_beside`)."""
    houses, z = [], view.rng.uniform(1.5, 9)
    while z < 75:
        length = view.rng.uniform(6, 14)
        if view.rng.random() < 0.85:
            colour = view.rng.choice(view.place.walls)
            storeys = max(1, view.place.storeys + view.rng.choice([-1, 0, 0, 0, 1]))
            houses.append((z, (x, side, z, z + length, storeys, colour)))
        z += length + (view.rng.random() < 0.25) * view.rng.uniform(2, 8)
    return houses


def _house_beside(view: View, x, side, z0, z1, storeys, colour) -> None:
    """A house whose front runs along the street at lateral position x."""
    height = 3.1 * storeys + 0.5
    sunny = 0.72 if view.light.clear and view.light.right * side > 0 else 1.0
    depth = x + side * 9
    top, ridge = view.place.pitch * 6, x + side * 4.5
    if top > 0.3:
        view.polygon(
            [
                (x, height, z0),
                (ridge, height + top, z0),
                (ridge, height + top, z1),
                (x, height, z1),
            ],
            view.place.roof,
        )
        view.polygon(
            [(x, height, z0), (ridge, height + top, z0), (depth, height, z0)], colour, 0.75
        )
    view.polygon([(x, 0, z0), (depth, 0, z0), (depth, height, z0), (x, height, z0)], colour, 0.8)
    view.polygon([(x, 0, z0), (x, 0, z1), (x, height, z1), (x, height, z0)], colour, sunny)
    if view.focal / z0 < 7:
        return
    bays = max(2, int((z1 - z0) / 2.6))
    step = (z1 - z0) / bays
    for storey in range(storeys):
        for bay in range(bays):
            low, z = 3.1 * storey + 0.8, z0 + (bay + 0.25) * step
            tall = 2.0 if view.place.tall_windows else 1.3
            window = view.rng.choice([(45, 55, 70), (60, 75, 95), (90, 105, 120)])
            if view.light.elevation < -2 and view.rng.random() < 0.5:
                window = (255, 225, 140)
            shutter, end = view.place.shutters, z + step * 0.5
            edge = step * 0.2
            _pane(view, x, low - 0.1, low + tall + 0.1, z - edge, end + edge, shutter)
            _pane(view, x, low, low + tall, z, end, window)
    if view.rng.random() < 0.4:
        awning = view.rng.choice([view.place.shutters, view.place.livery[0]])
        inward = x - side * 1.2
        view.polygon([(x, 3.2, z0), (x, 3.2, z1), (inward, 2.5, z1), (inward, 2.5, z0)], awning)


def _pane(view: View, x, low, high, z0, z1, colour) -> None:
    view.polygon([(x, low, z0), (x, low, z1), (x, high, z1), (x, high, z0)], colour)


def _square(view: View) -> None:
    """Across an open square, at a row of houses."""
    rng = view.rng
    _sky(view)
    _ground(view, view.place.paving)
    depth = rng.uniform(18, 45)
    if rng.random() < 0.8:
        _landmark(view, rng.uniform(-12, 12), depth + rng.uniform(-6, 25))
    _row_of_houses(view, depth, 0.9)
    for z in sorted(_depths(rng, rng.randrange(3, 12), 4, depth - 2), reverse=True):
        x = rng.uniform(-0.5, 0.5) * z
        rng.choice([_person, _person, _stall, _tree, _lamp, _bus, _sign, _flag])(view, x, z)
    _in_the_way(view)


def _row_of_houses(view: View, depth: float, chance: float) -> None:
    reach = depth * view.width / view.focal
    x = -reach
    while x < reach:
        width = view.rng.uniform(6, 13)
        if view.rng.random() < chance:
            _house_ahead(view, x, x + width, depth + view.rng.uniform(-1, 3))
        x += width


def _house_ahead(view: View, x0: float, x1: float, z: float) -> None:
    """A house whose front faces the camera."""
    rng, place = view.rng, view.place
    storeys = max(1, place.storeys + rng.choice([-1, 0, 0, 1]))
    height = 3.1 * storeys + 0.5
    colour = rng.choice(place.walls)
    top = place.pitch * (x1 - x0) / 2
    if top > 0.3:
        inset = (x1 - x0) * rng.choice([0.1, 0.5])
        roof = [(x0 - 0.4, height, z), (x1 + 0.4, height, z)]
        roof += [(x1 - inset, height + top, z), (x0 + inset, height + top, z)]
        view.polygon(roof, place.roof)
    view.box(x0, 0, x1, height, z, colour, 0.8 if view.light.ahead > 0 else 1.0)
    bays = max(2, int((x1 - x0) / 2.6))
    step = (x1 - x0) / bays
    tall, wide = (2.0, 0.4) if place.tall_windows else (1.3, 0.5)
    for storey in range(storeys):
        for bay in range(bays):
            low, left = 3.1 * storey + 0.8, x0 + (bay + 0.25) * step
            edge = step * 0.2
            view.box(
                left - edge, low - 0.1, left + step * wide + edge, low + tall, z, place.shutters
            )
            window = rng.choice([(45, 55, 70), (60, 75, 95), (90, 105, 120)])
            view.box(left, low, left + step * wide, low + tall, z, window)


def _country(view: View) -> None:
    """Out of town: hills, plants, a few houses, perhaps a road."""
    rng, place = view.rng, view.place
    _sky(view)
    for z in (3000, 1500, 700):
        if rng.random() < 0.75:
            _hills(view, z, rng.uniform(0.02, 0.22) * z)
    _ground(view, place.ground)
    if rng.random() < 0.5:
        middle = rng.uniform(-6, 6)
        _road(view, middle - 3, middle + 3)
        if rng.random() < 0.6:
            away = rng.random() < 0.5
            x = 1.5 if away != place.drives_left else -1.5
            _vehicle(view, middle + x, rng.uniform(8, 40), away)
    if rng.random() < 0.8:
        _row_of_houses(view, rng.uniform(30, 80), rng.uniform(0.25, 0.7))
    for z in sorted(_depths(rng, rng.randrange(6, 22), 7, 120), reverse=True):
        x = rng.uniform(-0.6, 0.6) * z
        rng.choice([_tree, _tree, _tree, _bush, _bush, _sign])(view, x, z)


def _hills(view: View, z: float, height: float) -> None:
    reach = z * view.width / view.focal
    points, x = [(-reach, 0, z)], -reach
    while x < reach:
        points.append((x, height * view.rng.uniform(0.15, 1), z))
        x += reach * view.rng.uniform(0.1, 0.35)
    colour = mix(view.place.ground, view.place.leaves, 0.6)
    haze = mix(colour, view.light.sky[1], min(0.75, z / 4000))
    view.draw.polygon([view.point(*point) for point in [*points, (reach, 0, z)]], fill=haze)


def _water(view: View) -> None:
    """At the water: a far shore, boats, a beach or a quay."""
    rng = view.rng
    _sky(view)
    if rng.random() < 0.5:
        _hills(view, 900, rng.uniform(40, 160))
    if rng.random() < 0.4:
        _landmark(view, rng.uniform(-30, 30), 140)
    deep = rng.choice([(30, 90, 110), (20, 60, 90), (60, 110, 100)])
    sea = mix(view.light.sky[0], view.lit(deep), 0.6)
    view.draw.rectangle((0, view.horizon, view.width, view.height), fill=sea)
    if rng.random() < 0.75:
        _row_of_houses(view, rng.uniform(35, 80), rng.uniform(0.4, 0.9))
    shore = view.point(0, 0, rng.uniform(20, 30))[1]
    view.draw.rectangle((0, shore, view.width, view.height), fill=sea)
    for _ in range(30):  # waves
        x, y = rng.randrange(view.width), rng.randrange(shore, max(shore + 1, view.height))
        length = 2 + (y - view.horizon) // 4
        view.draw.line((x, y, x + length, y), fill=mix(sea, view.light.colour, 0.25))
    for z in sorted(_depths(rng, rng.randrange(1, 5), 9, 40), reverse=True):
        _boat(view, rng.uniform(-0.5, 0.5) * z, z)
    near = rng.uniform(4, 8)
    if rng.random() < 0.6:
        sand = rng.choice([(215, 195, 150), view.place.ground, (140, 135, 130)])
        tilt = rng.uniform(-1, 1)
        bank = [(-60, 0, near + tilt), (60, 0, near - tilt), (60, 0, 1.2), (-60, 0, 1.2)]
        view.polygon(bank, sand)
        for z in sorted(_depths(rng, rng.randrange(1, 6), 3, near), reverse=True):
            rng.choice([_person, _tree, _stall, _lamp])(view, rng.uniform(-0.6, 0.6) * z, z)


def _detail(view: View) -> None:
    """A close-up or an interior: a photo that says nothing about where it was taken."""
    rng = view.rng
    view.draw.rectangle(
        (0, 0, view.width, view.height),
        fill=hsv(rng.random(), rng.uniform(0.1, 0.6), rng.uniform(0.2, 0.9)),
    )
    for _ in range(rng.randrange(8, 40)):
        x, y = rng.randrange(view.width), rng.randrange(view.height)
        a, b = (view.width * rng.randrange(2, 25) // 100 for _ in range(2))
        colour = hsv(rng.random(), rng.uniform(0.1, 0.8), rng.uniform(0.2, 0.95))
        shape = rng.choice([view.draw.ellipse, view.draw.rectangle])
        shape((x - a, y - b, x + a, y + b), fill=colour)


# --- things ---


def _vehicle(view: View, x: float, z: float, away: bool) -> None:
    if view.rng.random() < 0.25:
        _bus(view, x, z)
    else:
        _car(view, x, z, away)


def _car(view: View, x: float, z: float, away: bool) -> None:
    rng = view.rng
    taxi = rng.random() < 0.4
    plain = rng.choice(
        [(200, 200, 205), (40, 40, 45), (130, 130, 135), (120, 25, 25), (30, 50, 90)]
    )
    body = view.place.livery[0] if taxi else plain
    _shadow(view, x, z, 0.9, 1.4)
    view.box(x - 0.85, 0, x + 0.85, 0.4, z, BLACK)
    view.box(x - 0.9, 0.3, x + 0.9, 0.95, z, body)
    cabin = [(x - 0.75, 0.95, z), (x + 0.75, 0.95, z), (x + 0.6, 1.45, z), (x - 0.6, 1.45, z)]
    view.polygon(cabin, body)
    view.box(x - 0.55, 1.0, x + 0.55, 1.35, z, (50, 60, 75))
    lamps = (200, 30, 25) if away else (250, 250, 220)
    for side in (-0.75, 0.55):
        view.box(x + side, 0.65, x + side + 0.2, 0.82, z, lamps)
    if taxi:
        view.box(x - 0.25, 1.45, x + 0.25, 1.65, z, view.place.livery[1])


def _bus(view: View, x: float, z: float) -> None:
    body, stripe = view.place.livery
    half = view.rng.choice([1.25, 1.25, 4.5])  # from the end or from the side
    _shadow(view, x, z, half, 3)
    view.box(x - half, 0, x + half, 0.5, z, BLACK)
    view.box(x - half, 0.4, x + half, 3.0, z, body)
    view.box(x - half, 0.9, x + half, 1.35, z, stripe)
    view.box(x - half + 0.1, 1.6, x + half - 0.1, 2.5, z, (55, 65, 80))


def _stall(view: View, x: float, z: float) -> None:
    """A market stall under a striped roof."""
    colours = (view.place.livery[0], view.place.livery[1])
    view.box(x - 1.4, 0, x + 1.4, 0.9, z, (120, 85, 60))
    for strip in range(6):
        left = x - 1.5 + strip * 0.5
        view.box(left, 1.9, left + 0.5, 2.6, z, colours[strip % 2])


def _boat(view: View, x: float, z: float) -> None:
    hull = [(x - 2, 0.7, z), (x + 2, 0.7, z), (x + 1.5, 0, z), (x - 1.5, 0, z)]
    view.polygon(hull, view.place.livery[0])
    view.box(x - 0.7, 0.7, x + 0.5, 1.4, z, view.place.livery[1])
    if view.rng.random() < 0.5:
        view.polygon([(x, 0.8, z), (x + 1.3, 0.9, z), (x, 4.5, z)], (235, 235, 235))


def _person(view: View, x: float, z: float) -> None:
    rng = view.rng
    _shadow(view, x, z, 0.2, 1.7)
    top = hsv(rng.random(), rng.uniform(0, 0.6), rng.uniform(0.2, 0.9))
    view.box(x - 0.2, 0, x + 0.2, 0.85, z, rng.choice([(45, 50, 70), (60, 55, 50), BLACK]))
    view.box(x - 0.25, 0.8, x + 0.25, 1.45, z, top)
    view.ball(x, 1.6, z, 0.13, rng.choice([(225, 185, 155), (150, 105, 75), (90, 60, 45)]))


def _sign(view: View, x: float, z: float) -> None:
    view.box(x - 0.05, 0, x + 0.05, 2.4, z, (110, 110, 110))
    turns = [2 * math.pi * corner / view.place.sign_corners for corner in range(20)]
    turns = turns[: view.place.sign_corners]
    for radius, colour in ((0.6, view.place.sign), (0.38, WHITE)):
        ring = [
            (x + round(radius * math.sin(turn), 4), 2.6 + round(radius * math.cos(turn), 4), z)
            for turn in turns
        ]
        view.polygon(ring, colour)


def _flag(view: View, x: float, z: float) -> None:
    view.box(x - 0.06, 0, x + 0.06, 6, z, (200, 200, 200))
    for band, colour in enumerate(view.place.flag):
        if view.place.flag_upright:
            view.box(x + 0.8 * band, 4.4, x + 0.8 * (band + 1), 6, z, colour)
        else:
            view.box(x, 5.4 - 0.55 * band, x + 2.4, 5.95 - 0.55 * band, z, colour)


def _lamp(view: View, x: float, z: float) -> None:
    _shadow(view, x, z, 0.08, 5)
    view.box(x - 0.09, 0, x + 0.09, 5, z, view.place.shutters)
    view.ball(x, 5.1, z, 0.3, (250, 240, 200))


def _tree(view: View, x: float, z: float) -> None:
    rng, place = view.rng, view.place
    height = rng.uniform(3.5, 8)
    _shadow(view, x, z, 0.5, height)
    view.box(x - 0.14, 0, x + 0.14, height * 0.7, z, (95, 70, 50))
    if place.plant == "bush":
        _bush(view, x, z)
    elif place.plant == "conifer":
        for tier in range(3):
            low, half = height * (0.15 + 0.25 * tier), height * (0.26 - 0.06 * tier)
            tip = (x, low + height * 0.4, z)
            view.polygon([(x - half, low, z), (x + half, low, z), tip], place.leaves)
    elif place.plant == "palm":
        view.box(x - 0.12, 0, x + 0.12, height, z, (120, 95, 65))
        for dx, dy in ((-2, -0.8), (-1.6, 0.5), (-0.5, 1), (0.6, 1), (1.7, 0.4), (2, -0.9)):
            leaf = [(x, height, z), (x + dx, height + dy, z), (x + dx * 0.5, height + dy - 0.1, z)]
            view.polygon([*leaf, (x, height - 0.4, z)], place.leaves)
    elif place.plant == "bare":
        for _ in range(5):
            tip = (x + rng.uniform(-1.6, 1.6), height * rng.uniform(0.8, 1.1), z)
            view.polygon(
                [(x - 0.06, height * 0.5, z), (x + 0.06, height * 0.5, z), tip], (90, 70, 55)
            )
    else:
        for _ in range(6):
            dx, dy = rng.uniform(-1.2, 1.2), rng.uniform(0.55, 1.0) * height
            view.ball(x + dx, dy, z, rng.uniform(0.7, 1.4), place.leaves, rng.uniform(0.7, 1.1))


def _bush(view: View, x: float, z: float) -> None:
    for _ in range(4):
        dx, radius = view.rng.uniform(-0.8, 0.8), view.rng.uniform(0.3, 0.8)
        view.ball(x + dx, radius * 0.7, z, radius, view.place.leaves, view.rng.uniform(0.7, 1.1))


def _landmark(view: View, x: float, z: float) -> None:
    """The building that the town is known for, in its own colours."""
    wall, top = view.place.landmark_colours
    size = z * view.rng.uniform(0.3, 0.6)  # as tall as it looks from here
    kind = view.place.landmark
    half = size * 0.22
    if kind in ("spire", "dome", "minarets"):
        view.box(x - half, 0, x + half, size * 0.5, z, wall)
    if kind == "spire":
        view.box(x - half * 0.4, 0, x + half * 0.4, size * 0.65, z, wall, 0.85)
        tip = [(x - half * 0.45, size * 0.65, z), (x + half * 0.45, size * 0.65, z), (x, size, z)]
        view.polygon(tip, top)
    elif kind == "dome":
        view.ball(x, size * 0.55, z, half * 0.9, top)
    elif kind == "minarets":
        view.ball(x, size * 0.5, z, half * 0.6, top)
        for side in (-1.4, 1.4):
            view.box(x + half * (side - 0.12), 0, x + half * (side + 0.12), size * 0.85, z, wall)
            view.ball(x + half * side, size * 0.85, z, half * 0.2, top)
    elif kind == "tower":
        view.box(x - half * 0.5, 0, x + half * 0.5, size, z, wall)
        for band in range(4):
            low = size * (0.15 + 0.22 * band)
            view.box(x - half * 0.5, low, x + half * 0.5, low + size * 0.08, z, top)
    elif kind == "pagoda":
        for tier in range(4):
            low, wide = size * 0.22 * tier, half * (1.1 - 0.2 * tier)
            view.box(x - wide * 0.7, low, x + wide * 0.7, low + size * 0.2, z, wall)
            eaves = [(x - wide * 1.3, low + size * 0.16, z), (x + wide * 1.3, low + size * 0.16, z)]
            view.polygon([*eaves, (x, low + size * 0.3, z)], top)
    elif kind == "arch":
        view.box(x - half * 1.3, 0, x - half * 0.6, size * 0.6, z, wall)
        view.box(x + half * 0.6, 0, x + half * 1.3, size * 0.6, z, wall)
        view.box(x - half * 1.4, size * 0.5, x + half * 1.4, size * 0.72, z, top)
    elif kind == "wheel":
        view.ball(x, size * 0.5, z, size * 0.45, top)
        view.ball(x, size * 0.5, z, size * 0.38, view.light.sky[1])
        view.box(x - half * 0.15, 0, x + half * 0.15, size * 0.5, z, wall)
    else:
        view.polygon([(x - half * 2, 0, z), (x + half * 2, 0, z), (x, size * 0.7, z)], wall)
        view.polygon([(x, 0, z), (x + half * 2, 0, z), (x, size * 0.7, z)], top, 0.8)


def _in_the_way(view: View) -> None:
    """Somebody or something close to the camera, in one photo of four."""
    if view.rng.random() < 0.25:
        x = view.rng.uniform(-1.2, 1.2)
        view.rng.choice([_person, _person, _bush, _lamp])(view, x, view.rng.uniform(2, 3.5))


# --- the camera ---


def _through_the_lens(
    image: Image.Image, photo: Photo, rng: random.Random, camera: random.Random
) -> Image.Image:
    """Cut the frame out of the scene: a little tilted, and each take of a burst elsewhere."""
    margin = max(photo.width, photo.height) // 12
    tilt = rng.choice([0, 0, rng.uniform(-0.09, 0.09)])
    zoom = rng.uniform(0.92, 1.0)
    shake = margin / 50
    left = margin - tilt * photo.height / 2 + camera.uniform(-shake, shake)
    top = margin + tilt * photo.width / 2 + camera.uniform(-shake, shake)
    return image.transform(
        (photo.width, photo.height),
        Image.Transform.AFFINE,
        (zoom, tilt, left, -tilt, zoom, top),
        Image.Resampling.BILINEAR,
    )


def _develop(image: Image.Image, rng: random.Random, camera: random.Random) -> Image.Image:
    """White balance, exposure, contrast and sensor noise."""
    gains = [rng.uniform(0.98, 1.02) * camera.uniform(0.99, 1.01) for _ in range(3)]
    exposure, contrast = rng.uniform(0.85, 1.15), rng.uniform(0.9, 1.1)
    table = [
        min(255, max(0, math.floor((value * gain * exposure - 128) * contrast + 128)))
        for gain in gains
        for value in range(256)
    ]
    image = image.point(table)
    return _with_noise(image, rng.choice([2, 4, 4, 9]), camera.getrandbits(64))


def _with_noise(image: Image.Image, strength: int, seed: int) -> Image.Image:
    pixels = np.asarray(image).astype(np.int16)
    words = np.random.PCG64(seed).random_raw((pixels.size + 7) // 8)
    noise = words.view(np.uint8)[: pixels.size].reshape(pixels.shape).astype(np.int16) - 128
    return Image.fromarray(np.clip(pixels + noise * strength // 64, 0, 255).astype(np.uint8))
