import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nogps.dataset import folds, packing
from nogps.photos import images, panorama
from nogps.photos.images import BadImage
from nogps.photos.panorama import View
from tests.pictures import XMP, encoded, picture, pixels, stored

NAN = math.nan


def sphere(width=512, height=256) -> Image.Image:
    """A panorama in which each direction has its own colour: its vector, right, up and ahead."""
    longitude = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    latitude = (height / 2 - np.arange(height) - 0.5) / width * 2 * np.pi
    return Image.fromarray(coloured(*np.meshgrid(longitude, latitude)))


def coloured(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    flat = np.cos(latitude)
    vector = (np.sin(longitude) * flat, np.sin(latitude), np.cos(longitude) * flat)
    return np.rint(127.5 + 120 * np.stack(vector, axis=-1)).astype(np.uint8)


def expected(view: View, side: int, highest: float) -> np.ndarray:
    """The same view by other means: a ray a pixel, turned by matrices; the colour it meets."""
    up, right = math.radians(view.pitch), math.radians(view.bearing)
    raised = [[1, 0, 0], [0, math.cos(up), math.sin(up)], [0, -math.sin(up), math.cos(up)]]
    turned = [
        [math.cos(right), 0, math.sin(right)],
        [0, 1, 0],
        [-math.sin(right), 0, math.cos(right)],
    ]
    half = math.tan(math.radians(view.fov) / 2)
    out = np.zeros((side, side, 3), dtype=int)
    for row in range(side):
        for column in range(side):
            x, y = (2 * (each + 0.5) / side - 1 for each in (column, row))
            ray = np.array(turned) @ np.array(raised) @ np.array([x * half, -y * half, 1.0])
            latitude = math.asin(ray[1] / math.dist(ray, (0, 0, 0)))
            latitude = min(max(latitude, -highest), highest)  # what is beyond repeats the edge
            out[row, column] = coloured(np.float64(math.atan2(ray[0], ray[2])), latitude)
    return out


def seen(body: bytes, view: View, side=32) -> np.ndarray:
    [packed] = panorama.pack(body, side, [view])
    assert (packed.width, packed.height) == (side, side)
    return pixels(packed.jpeg)


# What is seen


@settings(max_examples=40, deadline=None)
@given(
    bearing=st.floats(-360, 720),
    fov=st.integers(10, 120),
    pitch=st.integers(-90, 90),
    size=st.sampled_from([(128, 64), (97, 48), (128, 30), (120, 80), (300, 150)]),
)
def test_a_view_shows_the_directions_that_a_camera_would(bearing, fov, pitch, size):
    view = View(bearing, fov, pitch)
    width, height = size
    picture = panorama._picture(encoded(sphere(*size), "PNG"), 12, view)
    found = panorama._seen(*picture, 12, view).astype(int)
    # The middle of the last row of pixels is the highest that a narrow picture shows.
    rows = len(picture[0])
    highest = min(math.pi / 2, (rows - 1) / rows * height / width * math.pi)
    # In 240 steps from one end of the world to the other: half a pixel beside would be 3.
    assert np.abs(found - expected(view, 24, highest)).max() <= 2


def test_left_is_left_and_up_is_up():
    body = encoded(sphere(), "PNG")
    ahead = seen(body, View(0, 90, 0))
    right, up, forward = 0, 1, 2
    assert ahead[16, 2, right] < 60 < 190 < ahead[16, 29, right]
    assert ahead[2, 16, up] > 190 > 60 > ahead[29, 16, up]
    assert ahead[16, 16, forward] > 240
    assert seen(body, View(90, 90, 0))[16, 16, right] > 240
    assert seen(body, View(0, 90, 60))[16, 16, up] > 220
    assert seen(body, View(0, 90, -60))[16, 16, up] < 35
    # 45 degrees to the right are the right edge of one view and the left edge of the next.
    edge, next_edge = ahead[16, -1], seen(body, View(90, 90, 0))[16, 0]
    assert np.abs(edge - next_edge).max() < 12


def test_there_is_no_seam_where_the_picture_ends():
    """Even pixel by pixel, in a picture with details, whether it is shrunk first or not."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, size=(64, 128, 3), dtype=np.uint8)
    for width in (128, 2048):
        scene = np.asarray(Image.fromarray(small).resize((width, width // 2), Image.Resampling.BOX))
        turned = np.roll(scene, width // 2, axis=1)
        views = []
        for each, bearing in ((scene, 180), (turned, 0)):
            view = View(bearing, 90, 0)
            picture = panorama._picture(encoded(Image.fromarray(each), "PNG"), 40, view)
            views.append(panorama._seen(*picture, 40, view).astype(int))
        assert np.abs(views[0] - views[1]).max() <= 2
        assert views[0].std() > 20


def test_what_lies_above_the_picture_repeats_its_edge():
    strip = np.zeros((64, 512, 3), dtype=np.uint8)
    strip[0], strip[-1] = (250, 0, 0), (0, 0, 250)
    found = seen(encoded(Image.fromarray(strip), "PNG"), View(0, 90, 0), side=64)
    assert (found[:10, :, 0] > 200).all() and (found[-10:, :, 2] > 200).all()
    assert found[32].max() < 30


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_fine_detail_becomes_grey_not_a_pattern(kind):
    rows, columns = np.indices((1500, 3000))
    checkers = ((rows + columns) % 2 * 255).astype(np.uint8)
    found = seen(encoded(Image.fromarray(checkers), kind, quality=95), View(10, 90, 0), side=64)
    assert np.abs(found - 127).max() < 12


def test_a_large_jpeg_is_decoded_near_the_size_that_is_needed():
    body = encoded(Image.new("RGB", (4096, 2048)), "JPEG")
    assert images.decoded(body, longer=1024).size == (1024, 512)
    assert images.decoded(body, longer=1025).size == (2048, 1024)
    assert images.decoded(body, longer=9000).size == (4096, 2048)
    assert panorama._picture(body, 74, View(0, 90, 0))[0].shape[1] == 658


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_is_stored_turned_is_seen_upright(orientation):
    for size in ((512, 256), (2048, 1024)):
        found = seen(stored(orientation, sphere(*size)), View(70, 90, 20))
        assert np.abs(found - expected(View(70, 90, 20), 32, 2)).max() <= 10


def test_nothing_of_the_file_but_its_pixels_survives():
    exif = Image.Exif()
    exif[0x010F] = "SECRETMAKER"
    exif.get_ifd(0x8825)[1] = "S"
    body = encoded(sphere(), exif=exif.tobytes(), xmp=XMP % 512, comment=b"latitude: 12.345")
    assert all(each in body for each in (b"SECRETMAKER", b"GPano", b"12.345"))
    views = [View(bearing, 90, 0) for bearing in (0, 120)]
    jpegs = [each.jpeg for each in panorama.pack(body, 32, views)]
    for out in (*jpegs, panorama.thumbnail(body, 64, views[0])):
        assert not any(each in out for each in (b"SECRETMAKER", b"GPano", b"12.345", b"Exif"))
        assert not Image.open(io.BytesIO(out)).info.keys() & {"exif", "xmp", "comment"}


def test_views_are_packed_as_photos_are_and_the_same_every_time():
    body = encoded(picture(512, 256, detail=32))
    views = [View(bearing, 90, 0) for bearing in (0, 90, 180)]
    packed = panorama.pack(body, 40, views)
    assert packed == panorama.pack(body, 40, views)
    assert packed[1:2] == panorama.pack(body, 40, views[1:2])
    assert len({each.phash for each in packed}) == 3
    for each in packed:
        again = images.pack(each.jpeg, 40)
        ours, theirs = (np.frombuffer(one.phash, dtype=np.uint64) for one in (each, again))
        assert folds.hamming(ours, theirs) <= 12
        assert (each.width, each.height) == (40, 40)


def test_a_thumbnail_shows_the_view_at_the_size_asked():
    view = View(200, 80, -10)
    shown = Image.open(io.BytesIO(panorama.thumbnail(encoded(sphere()), 96, view)))
    assert shown.size == (96, 96)
    small = np.asarray(shown.resize((32, 32), Image.Resampling.BOX)).astype(int)
    assert np.abs(small - expected(view, 32, 2)).max() <= 10


def test_what_is_no_picture_says_so():
    for body in (b"", b"no picture", encoded(sphere())[:-400]):
        with pytest.raises(BadImage):
            panorama.pack(body, 32, [View(0, 90, 0)])


# Which pictures are panoramas


@pytest.mark.parametrize(
    ("field_of_view", "xmp", "answer"),
    [
        (360.0, b"", True),
        (359.5, b"", True),
        (92.0, XMP % 512, False),
        (NAN, XMP % 512, True),
        (NAN, b"", False),
        (NAN, XMP.replace(b"equirectangular", b"cylindrical") % 512, False),
    ],
)
def test_the_source_decides_or_else_the_file(field_of_view, xmp, answer):
    assert panorama.all_around(encoded(sphere(), xmp=xmp), field_of_view) is answer
    assert panorama.all_around(b"no picture", NAN) is False


# What the stage makes of candidates


def made(candidate_id="a", heading=NAN, field_of_view=NAN, others=(), body=None, **how):
    ids = [candidate_id, *others]
    table = pd.DataFrame({"photo_id": ids, "heading": heading, "field_of_view": field_of_view})
    how = panorama.Settings(**({"headings": 4, "fov": 90, "pitch": 0} | how))
    photos_of = packing.photos_of(how, table)
    return photos_of(candidate_id, body or encoded(sphere()), 32)


def looks(photo) -> float:
    """Degrees from the picture's middle that the middle of a photo shows."""
    right, _, ahead = pixels(photo.packed.jpeg)[14:18, 14:18].mean(axis=(0, 1)) - 127.5
    return math.degrees(math.atan2(right, ahead)) % 360


def apart(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


@pytest.mark.parametrize("headings", [1, 4, 7])
@pytest.mark.parametrize("azimuth", [0.0, 75.0, 359.9])
def test_views_go_evenly_around_from_north(azimuth, headings):
    photos = made(heading=azimuth, field_of_view=360.0, headings=headings)
    assert [each.heading for each in photos] == [360 * k / headings for k in range(headings)]
    assert [each.photo_id for each in photos] == [
        f"a_{round(360 * k / headings):03d}" for k in range(headings)
    ]
    for photo in photos:
        assert apart(looks(photo) + azimuth, photo.heading) < 3
        assert apart(photo.bearing, looks(photo)) < 3


def test_where_north_is_unknown_they_go_from_the_middle():
    photos = made(body=encoded(sphere(), xmp=XMP % 512))
    assert [each.bearing for each in photos] == [0, 90, 180, 270]
    assert all(math.isnan(each.heading) for each in photos)
    assert max(apart(looks(each), each.bearing) for each in photos) < 3


def test_a_flat_photo_stays_what_it_is():
    [photo] = made(heading=33.0)
    assert (photo.photo_id, photo.heading) == ("a", 33.0)
    assert math.isnan(photo.bearing)
    assert photo.packed == images.pack(encoded(sphere()), 32)


def test_no_two_photos_have_one_id():
    others = ("a_000", "a_180", "a_180_", "b")
    assert [each.photo_id for each in made(field_of_view=360.0, others=others)] == [
        "a_000_",
        "a_090",
        "a_180__",
        "a_270",
    ]
