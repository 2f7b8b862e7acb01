"""What places of the simulated planet look like, the light on them, and what they are drawn on.

All of it follows from where and when: vegetation and season from latitude and aridity, the side
of the road and the colours of paint and signs from the country, walls and roofs from the region
(they change smoothly over hundreds of kilometres), shutters over tens of kilometres, liveries
and landmarks from the town, sun and weather from the hour. Numbers that come from trigonometry
are rounded, so that all is the same on every machine.
"""

import colorsys
import math
import random
from functools import cache, partial
from itertools import product
from types import SimpleNamespace

from PIL import Image, ImageDraw

from planet.photos import DATA, Photo, hashed

Colour = tuple[int, int, int]

WHITE, YELLOW, BLACK = (235, 235, 230), (240, 190, 30), (25, 25, 30)
# Whitewash to colour wash; brick and stone; tile, slate, copper and sheet.
RENDERS = ((240, 238, 230), (235, 215, 165), (235, 170, 150), (150, 190, 215), (160, 205, 170))
BRICKS = ((165, 75, 55), (120, 80, 60), (205, 165, 105), (130, 130, 135), (85, 80, 90))
ROOFS = ((200, 95, 55), (130, 60, 45), (70, 65, 70), (75, 100, 140), (90, 160, 130), (190, 170, 90))
FLAG_COLOURS = (WHITE, YELLOW, BLACK, (200, 30, 40), (30, 60, 160), (20, 130, 70))
LANDMARKS = tuple(DATA["landmarks"])
EYE_M = 1.7  # height of the camera


def _between(colours: tuple[Colour, ...], share: float) -> Colour:
    """The colour at `share` of the way from the first to the last."""
    step = min(share * (len(colours) - 1), len(colours) - 1.001)
    return mix(colours[int(step)], colours[int(step) + 1], step % 1)


@cache
def _share(text: str) -> float:
    return hashed(text, 4) / 2**32


def _field(photo: Photo, name: str, scale_km: float) -> float:
    """A smooth random function of position, 0 to 1, that varies over about `scale_km`.

    Value noise in space, read on the sphere: it has no seam and no poles.
    """
    lat, lng = math.radians(photo.latitude), math.radians(photo.longitude)
    point = (math.cos(lat) * math.cos(lng), math.cos(lat) * math.sin(lng), math.sin(lat))
    scaled = [round(6371 / scale_km * axis, 6) for axis in point]
    base = [math.floor(axis) for axis in scaled]
    parts = [axis - low for axis, low in zip(scaled, base, strict=True)]
    ramp = [part**2 * (3 - 2 * part) for part in parts]
    total = 0.0
    for i, j, k in product((0, 1), repeat=3):
        weight = math.prod(s if up else 1 - s for up, s in zip((i, j, k), ramp, strict=True))
        total += weight * _share(f"{name} {base[0] + i} {base[1] + j} {base[2] + k}")
    return min(1.0, max(0.0, (total - 0.5) * 1.7 + 0.5))


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """The colour with this hue, saturation and value, each 0 to 1."""
    return tuple(math.floor(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))


def scenery_of(photo: Photo) -> SimpleNamespace:
    """What it looks like where and when the photo was taken, before light and weather."""
    country, region = photo.town.country, partial(_field, photo)

    def national(name: str) -> float:
        # Neighbouring countries have much in common.
        return 0.75 * region(name, 2500) + 0.25 * _share(f"{name} {country}")

    plant, leaves, ground = _nature(photo)
    walls = RENDERS if region("render", 2000) > 0.45 else BRICKS
    wall = _between(walls, region("wall", 1800))
    wash = hsv(region("wash", 300), 0.45, 0.5 + 0.4 * region("bright", 400))
    return SimpleNamespace(
        drives_left=country in DATA["drives_left"],
        flag=[FLAG_COLOURS[int(len(FLAG_COLOURS) * national(f"band {n}"))] for n in range(3)],
        flag_upright=national("upright") < 0.5,  # whether its bands are
        kerb=hsv(national("kerb") * 0.999, 0.65, 0.7),
        paving=hsv(region("paving", 500), 0.22, 0.5 + 0.3 * region("pale", 900)),
        centre_line=YELLOW if national("line") < 0.5 else WHITE,
        sign=hsv(national("sign") * 0.999, 0.85, 0.75),
        sign_corners=(3, 4, 6, 20)[int(4 * national("corners"))],
        walls=(wall, mix(wall, wash, 0.4), wash),
        roof=_between(ROOFS, region("roof", 2000)),
        pitch=max(0.0, 1.1 * region("pitch", 2500) - 0.25),  # of the roof: height over width
        storeys=1 + int(5.9 * region("storeys", 1500)),
        tall_windows=region("window", 2500) > 0.5,
        shutters=hsv(region("shutters", 500), 0.75, 0.3 + 0.5 * region("shutter", 500)),
        plant=plant,
        leaves=leaves,
        ground=ground,
        **_of_the_town(str(photo.town)),
    )


def _of_the_town(town: str) -> dict:
    """What a town has of its own: the colours of its buses and taxis, and a landmark."""

    def local(name: str) -> float:
        return _share(f"{name} {town}")

    body = hsv(int(8 * local("livery")) / 8, 0.85, 0.85)
    stripe = hsv(int(8 * local("stripe")) / 8, 0.6, 0.95 if local("pale") < 0.5 else 0.35)
    wall = hsv(local("landmark hue"), 0.3 * local("dull"), 0.5 + 0.45 * local("bright"))
    top = hsv(int(7 * local("top hue")) / 7, 0.7, 0.7)
    landmark = LANDMARKS[int(len(LANDMARKS) * local("landmark"))]
    return {"livery": (body, stripe), "landmark": landmark, "landmark_colours": (wall, top)}


def _nature(photo: Photo) -> tuple[str, Colour, Colour]:
    """The kind of plant, the colour of its leaves and of the ground: climate and season."""
    from_equator = abs(photo.latitude)
    season = math.cos(2 * math.pi * (photo.taken.timetuple().tm_yday - 15) / 365)
    if photo.latitude < 0:
        season = -season  # 1 in midwinter, -1 in midsummer
    warmth = round(29 - 0.45 * from_equator - 0.17 * from_equator * season, 6)
    in_the_dry_belt = 0.3 if 15 < from_equator < 34 else 0.0
    aridity = 0.65 * _field(photo, "aridity", 1800) + in_the_dry_belt
    soil = hsv(0.05 + 0.07 * _field(photo, "soil", 1500), 0.5, 0.65)
    if aridity > 0.72:
        return ("palm" if warmth > 18 else "bush"), (110, 115, 60), soil
    if warmth < -1:
        return ("conifer" if from_equator > 48 else "bare"), (45, 70, 55), (225, 230, 238)
    grass = mix((70, 130, 50), soil, aridity * 0.8)
    if from_equator < 24:
        return "palm", (40, 120 - math.floor(40 * aridity), 40), grass
    if from_equator > 55 or _field(photo, "conifers", 900) > 0.62:
        return "conifer", (35, 75, 50), grass
    if warmth < 7:
        return "bare", (150, 90, 40), mix(grass, (130, 110, 70), 0.5)
    return "broadleaf", (70, 120, 45), grass


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """The colour at `share` of the way from one to the other."""
    return tuple(math.floor(a * (1 - share) + b * share) for a, b in zip(one, other, strict=True))


def sun(photo: Photo) -> tuple[float, float]:
    """Elevation and azimuth of the sun in degrees, taking local time for solar time."""
    day = photo.taken.timetuple().tm_yday
    declination = math.radians(-23.44 * math.cos(2 * math.pi * (day + 10) / 365))
    hour_angle = math.radians(15 * (photo.taken.hour + photo.taken.minute / 60 - 12))
    latitude = math.radians(photo.latitude)
    high, wide = math.sin(declination), math.cos(declination)
    east = -wide * math.sin(hour_angle)
    north = high * math.cos(latitude) - wide * math.sin(latitude) * math.cos(hour_angle)
    up = high * math.sin(latitude) + wide * math.cos(latitude) * math.cos(hour_angle)
    elevation = math.degrees(math.asin(max(-1.0, min(1.0, up))))
    return round(elevation, 4), round(math.degrees(math.atan2(east, north)) % 360, 4)


def _tinted(colour: Colour, air: list[float]) -> Colour:
    return tuple(min(255, math.floor(part * tint)) for part, tint in zip(colour, air, strict=True))


def light_of(photo: Photo, rng: random.Random) -> SimpleNamespace:
    """The light that a photo was taken in, the weather by `rng`; the sun is straight ahead at 0."""
    elevation, azimuth = sun(photo)
    direction = math.radians(azimuth - photo.heading)
    clear = rng.random() < 0.55
    day = min(1.0, max(0.0, (elevation + 6) / 18))
    low = min(1.0, max(0.0, 1 - elevation / 20)) if clear else 0.0
    strength = (0.45 + 0.55 * day) * (1.0 if clear else rng.uniform(0.6, 0.85))
    colour = mix((255, 255, 255), (255, 190, 130), low * 0.6)
    blue, grey = (80, 130, 210), (185, 190, 195)
    top = mix(grey, blue, rng.uniform(0.7, 1.0) if clear else rng.uniform(0, 0.25))
    bottom = mix(mix(top, (225, 230, 235), 0.6), (250, 170, 100), low * day * 0.7)
    night = (15, 18, 40)
    # How much of each the air of a region lets through: dust, damp and smoke.
    air = [
        0.75 + 0.35 * _field(photo, f"far {part}", 2000) + 0.15 * _field(photo, f"near {part}", 250)
        for part in ("red", "green", "blue")
    ]
    return SimpleNamespace(
        elevation=elevation,  # degrees
        ahead=round(math.cos(direction), 4),
        right=round(math.sin(direction), 4),
        clear=clear and elevation > 3,
        # What falls on things, 255 for full.
        colour=tuple(
            math.floor(part * strength * tint) for part, tint in zip(colour, air, strict=True)
        ),
        sky=(  # top, bottom
            _tinted(mix(night, top, day), air),
            _tinted(mix(night, bottom, 0.15 + 0.85 * day), air),
        ),
        haze=rng.choice([0.15, 0.3, 0.3, 0.8]),  # share of its colour per 100 m
    )


class Canvas:
    """A drawing under way: the paper, the camera, and all that colours depend on."""

    def __init__(self, photo: Photo, rng: random.Random):
        longest = max(photo.width, photo.height)
        self.margin = longest // 12  # on every side, for the lens to move in
        self.width, self.height = photo.width + 2 * self.margin, photo.height + 2 * self.margin
        self.image = Image.new("RGB", (self.width, self.height))
        self.draw, self.rng = ImageDraw.Draw(self.image), rng
        self.light, self.scenery = light_of(photo, rng), scenery_of(photo)
        self.horizon = math.floor(self.height * rng.uniform(0.35, 0.72))
        self.centre = math.floor(self.width * rng.uniform(0.15, 0.85))
        self.focal = longest * rng.uniform(0.75, 1.4)

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
