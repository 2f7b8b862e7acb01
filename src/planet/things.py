"""Things that stand in the planet's scenes: vehicles, people, plants, signs and landmarks.

Each is drawn at x metres to the right of the camera and z metres ahead.
"""

import math

from planet.looks import BLACK, WHITE, Canvas, hsv
from planet.photos import DATA

_CARS = [(200, 200, 205), (40, 40, 45), (130, 130, 135), (120, 25, 25), (30, 50, 90)]


def vehicle(canvas: Canvas, x: float, z: float, away: bool) -> None:
    """A bus or a car; `away`: whether it is seen from behind."""
    rng = canvas.rng
    if rng.random() < 0.25:
        bus(canvas, x, z)
        return
    taxi = rng.random() < 0.4
    plain = rng.choice(_CARS)
    body = canvas.scenery.livery[0] if taxi else plain
    shadow(canvas, x, z, 0.9, 1.4)
    canvas.box(x - 0.85, 0, x + 0.85, 0.4, z, BLACK)
    canvas.box(x - 0.9, 0.3, x + 0.9, 0.95, z, body)
    cabin = [(x - 0.75, 0.95, z), (x + 0.75, 0.95, z), (x + 0.6, 1.45, z), (x - 0.6, 1.45, z)]
    canvas.polygon(cabin, body)
    canvas.box(x - 0.55, 1.0, x + 0.55, 1.35, z, (50, 60, 75))
    lamps = (200, 30, 25) if away else (250, 250, 220)
    for side in (-0.75, 0.55):
        canvas.box(x + side, 0.65, x + side + 0.2, 0.82, z, lamps)
    if taxi:
        canvas.box(x - 0.25, 1.45, x + 0.25, 1.65, z, canvas.scenery.livery[1])


def bus(canvas: Canvas, x: float, z: float) -> None:
    """A bus in the town's colours."""
    body, stripe = canvas.scenery.livery
    half = canvas.rng.choice([1.25, 1.25, 4.5])  # from the end or from the side
    shadow(canvas, x, z, half, 3)
    canvas.box(x - half, 0, x + half, 0.5, z, BLACK)
    canvas.box(x - half, 0.4, x + half, 3.0, z, body)
    canvas.box(x - half, 0.9, x + half, 1.35, z, stripe)
    canvas.box(x - half + 0.1, 1.6, x + half - 0.1, 2.5, z, (55, 65, 80))


def stall(canvas: Canvas, x: float, z: float) -> None:
    """A market stall under a striped roof."""
    _draw(canvas, DATA["things"]["stall"], x, 0, z)


def boat(canvas: Canvas, x: float, z: float) -> None:
    """A boat, perhaps under sail."""
    _draw(canvas, DATA["things"]["boat"], x, 0, z)
    if canvas.rng.random() < 0.5:
        _draw(canvas, DATA["things"]["sail"], x, 0, z)


def person(canvas: Canvas, x: float, z: float) -> None:
    """Somebody who stands there."""
    rng = canvas.rng
    shadow(canvas, x, z, 0.2, 1.7)
    top = hsv(rng.random(), rng.uniform(0, 0.6), rng.uniform(0.2, 0.9))
    canvas.box(x - 0.2, 0, x + 0.2, 0.85, z, rng.choice([(45, 50, 70), (60, 55, 50), BLACK]))
    canvas.box(x - 0.25, 0.8, x + 0.25, 1.45, z, top)
    canvas.ball(x, 1.6, z, 0.13, rng.choice([(225, 185, 155), (150, 105, 75), (90, 60, 45)]))


def sign(canvas: Canvas, x: float, z: float) -> None:
    """A traffic sign in the country's form and colour."""
    canvas.box(x - 0.05, 0, x + 0.05, 2.4, z, (110, 110, 110))
    corners = canvas.scenery.sign_corners
    turns = [2 * math.pi * corner / corners for corner in range(corners)]
    for radius, colour in ((0.6, canvas.scenery.sign), (0.38, WHITE)):
        ring = [
            (x + round(radius * math.sin(turn), 4), 2.6 + round(radius * math.cos(turn), 4), z)
            for turn in turns
        ]
        canvas.polygon(ring, colour)


def flag(canvas: Canvas, x: float, z: float) -> None:
    """The country's flag on a pole."""
    canvas.box(x - 0.06, 0, x + 0.06, 6, z, (200, 200, 200))
    for band, colour in enumerate(canvas.scenery.flag):
        if canvas.scenery.flag_upright:
            canvas.box(x + 0.8 * band, 4.4, x + 0.8 * (band + 1), 6, z, colour)
        else:
            canvas.box(x, 5.4 - 0.55 * band, x + 2.4, 5.95 - 0.55 * band, z, colour)


def lamp(canvas: Canvas, x: float, z: float) -> None:
    """A street lamp."""
    shadow(canvas, x, z, 0.08, 5)
    canvas.box(x - 0.09, 0, x + 0.09, 5, z, canvas.scenery.shutters)
    canvas.ball(x, 5.1, z, 0.3, (250, 240, 200))


def tree(canvas: Canvas, x: float, z: float) -> None:
    """A tree of the kind that grows there."""
    rng, scenery = canvas.rng, canvas.scenery
    height = rng.uniform(3.5, 8)
    shadow(canvas, x, z, 0.5, height)
    canvas.box(x - 0.14, 0, x + 0.14, height * 0.7, z, (95, 70, 50))
    if scenery.plant == "bush":
        bush(canvas, x, z)
    elif scenery.plant == "conifer":
        _draw(canvas, DATA["things"]["conifer"], x, 0, z, height, height)
    elif scenery.plant == "palm":
        canvas.box(x - 0.12, 0, x + 0.12, height, z, (120, 95, 65))
        _draw(canvas, DATA["things"]["palm"], x, height, z)
    elif scenery.plant == "bare":
        for _ in range(5):
            tip = (x + rng.uniform(-1.6, 1.6), height * rng.uniform(0.8, 1.1), z)
            fork = [(x - 0.06, height * 0.5, z), (x + 0.06, height * 0.5, z)]
            canvas.polygon([*fork, tip], (90, 70, 55))
    else:
        for _ in range(6):
            dx, dy = rng.uniform(-1.2, 1.2), rng.uniform(0.55, 1.0) * height
            canvas.ball(x + dx, dy, z, rng.uniform(0.7, 1.4), scenery.leaves, rng.uniform(0.7, 1.1))


def bush(canvas: Canvas, x: float, z: float) -> None:
    """A bush."""
    for _ in range(4):
        dx, radius = canvas.rng.uniform(-0.8, 0.8), canvas.rng.uniform(0.3, 0.8)
        facing = canvas.rng.uniform(0.7, 1.1)
        canvas.ball(x + dx, radius * 0.7, z, radius, canvas.scenery.leaves, facing)


def landmark(canvas: Canvas, x: float, z: float) -> None:
    """The building that the town is known for, in its own colours."""
    size = z * canvas.rng.uniform(0.3, 0.6)  # as tall as it looks from here
    _draw(canvas, DATA["landmarks"][canvas.scenery.landmark], x, 0, z, 0.22 * size, size)


def _draw(canvas: Canvas, shapes: list, x, y, z, wide: float = 1, tall: float = 1) -> None:
    """Shapes, each of a colour, lit to a share, and of points, which are multiples of two lengths.

    Two points are a box's corners, more a polygon's; one is a ball's middle, and its radius.
    """
    body, stripe = canvas.scenery.livery
    wall, top = canvas.scenery.landmark_colours
    colours = {"body": body, "stripe": stripe, "wall": wall, "top": top, "wood": (120, 85, 60)}
    colours |= {"sky": canvas.light.sky[1], "leaves": canvas.scenery.leaves, "sail": (235,) * 3}
    for colour, facing, *points in shapes:
        corners = [(x + wide * across, y + tall * up, z) for across, up, *_ in points]
        if len(points) == 1:
            canvas.ball(*corners[0], wide * points[0][2], colours[colour], facing)
        elif len(points) == 2:
            canvas.box(*corners[0][:2], *corners[1], colours[colour], facing)
        else:
            canvas.polygon(corners, colours[colour], facing)


def shadow(canvas: Canvas, x: float, z: float, half_width: float, height: float) -> None:
    """What a thing of that size throws on the ground: long where the sun is low."""
    if not canvas.light.clear:
        return
    slope = round(1 / math.tan(math.radians(max(5.0, canvas.light.elevation))), 4)
    length = min(4.0, slope) * height
    far_x, far_z = x - canvas.light.right * length, max(1.5, z - canvas.light.ahead * length)
    near = [(x - half_width, 0, z), (x + half_width, 0, z)]
    far = [(far_x + half_width, 0, far_z), (far_x - half_width, 0, far_z)]
    canvas.polygon(near + far, (60, 60, 70), 0.7)
