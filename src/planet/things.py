"""Things that stand in the planet's scenes: vehicles, people, plants, signs and landmarks.

Each is drawn at x metres to the right of the camera and z metres ahead.
"""

import math

from planet.canvas import Canvas
from planet.looks import BLACK, WHITE, hsv

_CARS = [(200, 200, 205), (40, 40, 45), (130, 130, 135), (120, 25, 25), (30, 50, 90)]


def vehicle(canvas: Canvas, x: float, z: float, away: bool) -> None:
    """A bus or a car; `away`: whether it is seen from behind."""
    if canvas.rng.random() < 0.25:
        bus(canvas, x, z)
    else:
        _car(canvas, x, z, away)


def _car(canvas: Canvas, x: float, z: float, away: bool) -> None:
    rng = canvas.rng
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
    canvas.box(x - 1.4, 0, x + 1.4, 0.9, z, (120, 85, 60))
    for strip in range(6):
        left = x - 1.5 + strip * 0.5
        canvas.box(left, 1.9, left + 0.5, 2.6, z, canvas.scenery.livery[strip % 2])


def boat(canvas: Canvas, x: float, z: float) -> None:
    """A boat, perhaps under sail."""
    hull = [(x - 2, 0.7, z), (x + 2, 0.7, z), (x + 1.5, 0, z), (x - 1.5, 0, z)]
    canvas.polygon(hull, canvas.scenery.livery[0])
    canvas.box(x - 0.7, 0.7, x + 0.5, 1.4, z, canvas.scenery.livery[1])
    if canvas.rng.random() < 0.5:
        canvas.polygon([(x, 0.8, z), (x + 1.3, 0.9, z), (x, 4.5, z)], (235, 235, 235))


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
        for tier in range(3):
            low, half = height * (0.15 + 0.25 * tier), height * (0.26 - 0.06 * tier)
            tip = (x, low + height * 0.4, z)
            canvas.polygon([(x - half, low, z), (x + half, low, z), tip], scenery.leaves)
    elif scenery.plant == "palm":
        canvas.box(x - 0.12, 0, x + 0.12, height, z, (120, 95, 65))
        for dx, dy in ((-2, -0.8), (-1.6, 0.5), (-0.5, 1), (0.6, 1), (1.7, 0.4), (2, -0.9)):
            leaf = [(x, height, z), (x + dx, height + dy, z), (x + dx * 0.5, height + dy - 0.1, z)]
            canvas.polygon([*leaf, (x, height - 0.4, z)], scenery.leaves)
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


# Shapes of a colour, lit to a share, by the points that they have: three are a triangle's corners,
# two a box's, one a ball's middle and its radius. Across, 1 is half the width; up, the height.
_NAVE = ("wall", 1, (-1, 0), (1, 0.5))
_LANDMARKS: dict[str, list[tuple]] = {
    "spire": [
        _NAVE,
        ("wall", 0.85, (-0.4, 0), (0.4, 0.65)),
        ("top", 1, (-0.45, 0.65), (0.45, 0.65), (0, 1)),
    ],
    "dome": [_NAVE, ("top", 1, (0, 0.55, 0.9))],
    "tower": [
        ("wall", 1, (-0.5, 0), (0.5, 1)),
        *(("top", 1, (-0.5, low), (0.5, low + 0.08)) for low in (0.15, 0.37, 0.59, 0.81)),
    ],
    "pagoda": [
        shape
        for low, wide in ((0, 1.1), (0.22, 0.9), (0.44, 0.7), (0.66, 0.5))
        for shape in (
            ("wall", 1, (-0.7 * wide, low), (0.7 * wide, low + 0.2)),
            ("top", 1, (-1.3 * wide, low + 0.16), (1.3 * wide, low + 0.16), (0, low + 0.3)),
        )
    ],
    "arch": [
        ("wall", 1, (-1.3, 0), (-0.6, 0.6)),
        ("wall", 1, (0.6, 0), (1.3, 0.6)),
        ("top", 1, (-1.4, 0.5), (1.4, 0.72)),
    ],
    "minarets": [
        _NAVE,
        ("top", 1, (0, 0.5, 0.6)),
        ("wall", 1, (-1.52, 0), (-1.28, 0.85)),
        ("top", 1, (-1.4, 0.85, 0.2)),
        ("wall", 1, (1.28, 0), (1.52, 0.85)),
        ("top", 1, (1.4, 0.85, 0.2)),
    ],
    "wheel": [
        ("top", 1, (0, 0.5, 0.45 / 0.22)),
        ("sky", 1, (0, 0.5, 0.38 / 0.22)),
        ("wall", 1, (-0.15, 0), (0.15, 0.5)),
    ],
    "pyramid": [("wall", 1, (-2, 0), (2, 0), (0, 0.7)), ("top", 0.8, (0, 0), (2, 0), (0, 0.7))],
}


def landmark(canvas: Canvas, x: float, z: float) -> None:
    """The building that the town is known for, in its own colours."""
    wall, top = canvas.scenery.landmark_colours
    colours = {"wall": wall, "top": top, "sky": canvas.light.sky[1]}
    size = z * canvas.rng.uniform(0.3, 0.6)  # as tall as it looks from here
    half = 0.22 * size
    for colour, facing, *points in _LANDMARKS[canvas.scenery.landmark]:
        corners = [(x + half * across, size * up, z) for across, up, *_ in points]
        if len(points) == 1:
            canvas.ball(*corners[0], half * points[0][2], colours[colour], facing)
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
