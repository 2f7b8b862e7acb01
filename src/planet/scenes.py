"""The planet's scenes: a street, a square, the country, water, or a detail of nowhere."""

import random
from collections.abc import Iterator

from planet.looks import WHITE, Canvas, Colour, hsv, mix
from planet.things import boat, bus, bush, flag, lamp, landmark, person, sign, stall, tree, vehicle

_PANES = [(45, 55, 70), (60, 75, 95), (90, 105, 120)]


def _sky(canvas: Canvas) -> None:
    top, bottom = canvas.light.sky
    for band in range(14):
        below = (0, canvas.horizon * band // 14, canvas.width, canvas.horizon)
        canvas.draw.rectangle(below, fill=mix(top, bottom, band / 13))
    bright = mix(bottom, canvas.light.colour, 0.6)
    for _ in range(canvas.rng.randrange(7)):
        x, y = canvas.rng.randrange(canvas.width), canvas.rng.randrange(1 + max(1, canvas.horizon))
        for _ in range(4):
            x += canvas.rng.randrange(-canvas.width // 12, canvas.width // 12)
            half = canvas.width // canvas.rng.randrange(8, 22)
            canvas.draw.ellipse((x - half, y - half // 3, x + half, y + half // 3), fill=bright)


def _ground(canvas: Canvas, colour: Colour) -> None:
    below = (0, canvas.horizon, canvas.width, canvas.height)
    canvas.draw.rectangle(below, fill=canvas.lit(colour, 0.9, 30))
    for _ in range(25):  # patches: no ground is one colour
        z = canvas.rng.uniform(3, 40)
        x = canvas.rng.uniform(-1, 1) * z
        canvas.ball(x, 0, z, canvas.rng.uniform(0.3, 2), colour, canvas.rng.uniform(0.75, 1), 0.15)


def street(canvas: Canvas) -> None:
    """Along a street, houses on both sides."""
    rng, scenery = canvas.rng, canvas.scenery
    _sky(canvas)
    half = rng.uniform(3.2, 6)
    offset = rng.uniform(-half, half)  # where on the street the camera stands
    pavement = rng.uniform(1.5, 4)
    _ground(canvas, scenery.paving if rng.random() < 0.8 else scenery.ground)
    if rng.random() < 0.5:
        landmark(canvas, rng.uniform(-30, 30), rng.uniform(90, 160))
    _road(canvas, -half - offset, half - offset)
    left, right = -half - pavement - offset, half + pavement - offset
    houses = _houses_along(canvas, left, -1) + _houses_along(canvas, right, 1)
    things = [(z, lambda house=house: _house_beside(canvas, *house)) for z, house in houses]
    for z in _depths(rng, rng.randrange(2, 7), 6, 60):
        side = rng.choice([-1, 1])
        x = side * half * 0.5 - offset
        away = (side < 0) == scenery.drives_left
        things.append((z, lambda x=x, z=z, away=away: vehicle(canvas, x, z, away)))
    for z in _depths(rng, rng.randrange(1, 6), 5, 45):
        x = rng.choice([left + 1, right - 1])
        thing = rng.choice([tree, tree, sign, flag, lamp, person, person])
        things.append((z, lambda thing=thing, x=x, z=z: thing(canvas, x, z)))
    for _, draw in sorted(things, key=lambda thing: -thing[0]):
        draw()
    _in_the_way(canvas)


def _depths(rng: random.Random, count: int, near: float, far: float) -> list[float]:
    return [near * (far / near) ** rng.random() for _ in range(count)]


def _road(canvas: Canvas, left: float, right: float) -> None:
    grey = canvas.rng.randrange(70, 125)
    _strip(canvas, left, right, 150, 2.0, (grey, grey, grey + 4))
    for edge in (left - 0.35, right):
        _strip(canvas, edge, edge + 0.35, 150, 2.0, canvas.scenery.kerb)
    middle, line = (left + right) / 2, canvas.scenery.centre_line
    if canvas.rng.random() < 0.8:
        for z in range(3, 60, 4):
            _strip(canvas, middle - 0.14, middle + 0.14, z, z + (2.2 if line == WHITE else 4), line)


def _strip(canvas: Canvas, left, right, z0, z1, colour: Colour) -> None:
    canvas.polygon([(left, 0, z0), (right, 0, z0), (right, 0, z1), (left, 0, z1)], colour)


def _houses_along(canvas: Canvas, x: float, side: int) -> list[tuple[float, tuple]]:
    """Houses from near to far: (depth, arguments of `_house_beside`)."""
    houses, z = [], canvas.rng.uniform(1.5, 9)
    while z < 75:
        length = canvas.rng.uniform(6, 14)
        if canvas.rng.random() < 0.85:
            colour = canvas.rng.choice(canvas.scenery.walls)
            storeys = max(1, canvas.scenery.storeys + canvas.rng.choice([-1, 0, 0, 0, 1]))
            houses.append((z, (x, side, z, z + length, storeys, colour)))
        z += length + (canvas.rng.random() < 0.25) * canvas.rng.uniform(2, 8)
    return houses


def _house_beside(canvas: Canvas, x, side, z0, z1, storeys, colour) -> None:
    """A house whose front runs along the street at lateral position x."""
    height = 3.1 * storeys + 0.5
    sunny = 0.72 if canvas.light.clear and canvas.light.right * side > 0 else 1.0
    depth = x + side * 9
    top, ridge = height + canvas.scenery.pitch * 6, x + side * 4.5
    if canvas.scenery.pitch * 6 > 0.3:
        roof = [(x, height, z0), (ridge, top, z0), (ridge, top, z1), (x, height, z1)]
        canvas.polygon(roof, canvas.scenery.roof)
        canvas.polygon([(x, height, z0), (ridge, top, z0), (depth, height, z0)], colour, 0.75)
    canvas.polygon([(x, 0, z0), (depth, 0, z0), (depth, height, z0), (x, height, z0)], colour, 0.8)
    _pane(canvas, x, 0, height, z0, z1, colour, sunny)
    if canvas.focal / z0 < 7:
        return
    tall = 2.0 if canvas.scenery.tall_windows else 1.3
    for low, z, step in _windows(storeys, z0, z1):
        window = canvas.rng.choice(_PANES)
        if canvas.light.elevation < -2 and canvas.rng.random() < 0.5:
            window = (255, 225, 140)
        edge, end = step * 0.2, z + step * 0.5
        shutters = canvas.scenery.shutters
        _pane(canvas, x, low - 0.1, low + tall + 0.1, z - edge, end + edge, shutters)
        _pane(canvas, x, low, low + tall, z, end, window)
    if canvas.rng.random() < 0.4:
        awning = canvas.rng.choice([canvas.scenery.shutters, canvas.scenery.livery[0]])
        inward = x - side * 1.2
        canvas.polygon([(x, 3.2, z0), (x, 3.2, z1), (inward, 2.5, z1), (inward, 2.5, z0)], awning)


def _pane(canvas: Canvas, x, low, high, z0, z1, colour: Colour, facing: float = 1.0) -> None:
    canvas.polygon([(x, low, z0), (x, low, z1), (x, high, z1), (x, high, z0)], colour, facing)


def _windows(storeys: int, start: float, end: float) -> Iterator[tuple[float, float, float]]:
    """How high and how far along a front each window begins, and how far it is to the next."""
    bays = max(2, int((end - start) / 2.6))
    step = (end - start) / bays
    for storey in range(storeys):
        for bay in range(bays):
            yield 3.1 * storey + 0.8, start + (bay + 0.25) * step, step


def square(canvas: Canvas) -> None:
    """Across an open square, at a row of houses."""
    rng = canvas.rng
    _sky(canvas)
    _ground(canvas, canvas.scenery.paving)
    depth = rng.uniform(18, 45)
    if rng.random() < 0.8:
        landmark(canvas, rng.uniform(-12, 12), depth + rng.uniform(-6, 25))
    _row_of_houses(canvas, depth, 0.9)
    for z in sorted(_depths(rng, rng.randrange(3, 12), 4, depth - 2), reverse=True):
        x = rng.uniform(-0.5, 0.5) * z
        rng.choice([person, person, stall, tree, lamp, bus, sign, flag])(canvas, x, z)
    _in_the_way(canvas)


def _row_of_houses(canvas: Canvas, depth: float, chance: float) -> None:
    reach = depth * canvas.width / canvas.focal
    x = -reach
    while x < reach:
        width = canvas.rng.uniform(6, 13)
        if canvas.rng.random() < chance:
            _house_ahead(canvas, x, x + width, depth + canvas.rng.uniform(-1, 3))
        x += width


def _house_ahead(canvas: Canvas, x0: float, x1: float, z: float) -> None:
    """A house whose front faces the camera."""
    rng, scenery = canvas.rng, canvas.scenery
    storeys = max(1, scenery.storeys + rng.choice([-1, 0, 0, 1]))
    height = 3.1 * storeys + 0.5
    colour = rng.choice(scenery.walls)
    top = scenery.pitch * (x1 - x0) / 2
    if top > 0.3:
        inset = (x1 - x0) * rng.choice([0.1, 0.5])
        roof = [(x0 - 0.4, height, z), (x1 + 0.4, height, z)]
        roof += [(x1 - inset, height + top, z), (x0 + inset, height + top, z)]
        canvas.polygon(roof, scenery.roof)
    canvas.box(x0, 0, x1, height, z, colour, 0.8 if canvas.light.ahead > 0 else 1.0)
    tall, wide = (2.0, 0.4) if scenery.tall_windows else (1.3, 0.5)
    for low, left, step in _windows(storeys, x0, x1):
        edge, right = step * 0.2, left + step * wide
        canvas.box(left - edge, low - 0.1, right + edge, low + tall, z, scenery.shutters)
        canvas.box(left, low, right, low + tall, z, rng.choice(_PANES))


def country(canvas: Canvas) -> None:
    """Out of town: hills, plants, a few houses, perhaps a road."""
    rng, scenery = canvas.rng, canvas.scenery
    _sky(canvas)
    for z in (3000, 1500, 700):
        if rng.random() < 0.75:
            _hills(canvas, z, rng.uniform(0.02, 0.22) * z)
    _ground(canvas, scenery.ground)
    if rng.random() < 0.5:
        middle = rng.uniform(-6, 6)
        _road(canvas, middle - 3, middle + 3)
        if rng.random() < 0.6:
            away = rng.random() < 0.5
            x = 1.5 if away != scenery.drives_left else -1.5
            vehicle(canvas, middle + x, rng.uniform(8, 40), away)
    if rng.random() < 0.8:
        _row_of_houses(canvas, rng.uniform(30, 80), rng.uniform(0.25, 0.7))
    for z in sorted(_depths(rng, rng.randrange(6, 22), 7, 120), reverse=True):
        x = rng.uniform(-0.6, 0.6) * z
        rng.choice([tree, tree, tree, bush, bush, sign])(canvas, x, z)


def _hills(canvas: Canvas, z: float, height: float) -> None:
    reach = z * canvas.width / canvas.focal
    points, x = [(-reach, 0, z)], -reach
    while x < reach:
        points.append((x, height * canvas.rng.uniform(0.15, 1), z))
        x += reach * canvas.rng.uniform(0.1, 0.35)
    colour = mix(canvas.scenery.ground, canvas.scenery.leaves, 0.6)
    haze = mix(colour, canvas.light.sky[1], min(0.75, z / 4000))
    canvas.draw.polygon([canvas.point(*point) for point in [*points, (reach, 0, z)]], fill=haze)


def water(canvas: Canvas) -> None:
    """At the water: a far shore, boats, a beach or a quay."""
    rng = canvas.rng
    _sky(canvas)
    if rng.random() < 0.5:
        _hills(canvas, 900, rng.uniform(40, 160))
    if rng.random() < 0.4:
        landmark(canvas, rng.uniform(-30, 30), 140)
    deep = rng.choice([(30, 90, 110), (20, 60, 90), (60, 110, 100)])
    sea = mix(canvas.light.sky[0], canvas.lit(deep), 0.6)
    canvas.draw.rectangle((0, canvas.horizon, canvas.width, canvas.height), fill=sea)
    if rng.random() < 0.75:
        _row_of_houses(canvas, rng.uniform(35, 80), rng.uniform(0.4, 0.9))
    shore = canvas.point(0, 0, rng.uniform(20, 30))[1]
    canvas.draw.rectangle((0, shore, canvas.width, canvas.height), fill=sea)
    for _ in range(30):  # waves
        x, y = rng.randrange(canvas.width), rng.randrange(shore, max(shore + 1, canvas.height))
        length = 2 + (y - canvas.horizon) // 4
        canvas.draw.line((x, y, x + length, y), fill=mix(sea, canvas.light.colour, 0.25))
    for z in sorted(_depths(rng, rng.randrange(1, 5), 9, 40), reverse=True):
        boat(canvas, rng.uniform(-0.5, 0.5) * z, z)
    near = rng.uniform(4, 8)
    if rng.random() < 0.6:
        sand = rng.choice([(215, 195, 150), canvas.scenery.ground, (140, 135, 130)])
        tilt = rng.uniform(-1, 1)
        bank = [(-60, 0, near + tilt), (60, 0, near - tilt), (60, 0, 1.2), (-60, 0, 1.2)]
        canvas.polygon(bank, sand)
        for z in sorted(_depths(rng, rng.randrange(1, 6), 3, near), reverse=True):
            rng.choice([person, tree, stall, lamp])(canvas, rng.uniform(-0.6, 0.6) * z, z)


def detail(canvas: Canvas) -> None:
    """A close-up or an interior: a photo that says nothing about where it was taken."""
    rng = canvas.rng
    colour = hsv(rng.random(), rng.uniform(0.1, 0.6), rng.uniform(0.2, 0.9))
    canvas.draw.rectangle((0, 0, canvas.width, canvas.height), fill=colour)
    for _ in range(rng.randrange(8, 40)):
        x, y = rng.randrange(canvas.width), rng.randrange(canvas.height)
        a, b = (canvas.width * rng.randrange(2, 25) // 100 for _ in range(2))
        colour = hsv(rng.random(), rng.uniform(0.1, 0.8), rng.uniform(0.2, 0.95))
        shape = rng.choice([canvas.draw.ellipse, canvas.draw.rectangle])
        shape((x - a, y - b, x + a, y + b), fill=colour)


def _in_the_way(canvas: Canvas) -> None:
    """Somebody or something close to the camera, in one photo of four."""
    if canvas.rng.random() < 0.25:
        x = canvas.rng.uniform(-1.2, 1.2)
        canvas.rng.choice([person, person, bush, lamp])(canvas, x, canvas.rng.uniform(2, 3.5))


# By the scene of a photo.
SCENES = {scene.__name__: scene for scene in (street, square, country, water, detail)}
