import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from nogps.dataset import folds
from nogps.model import tensors
from nogps.photos import images
from tests.pictures import STRANGE, encoded, picture, pixels, stored


def unpacked(image: Image.Image, side=40):
    return tensors.to_tensor(images.pack(encoded(image), side).jpeg)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "TIFF"])
def test_every_format_packs_to_the_same_picture(kind):
    packed = images.pack(encoded(picture(), kind), 40)
    assert (packed.width, packed.height) == (60, 40)
    reference = np.asarray(picture().resize((60, 40), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(pixels(packed.jpeg) - reference).mean() < 6


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "I;16", "CMYK", "1"])
def test_every_mode_becomes_rgb(mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    image = picture(mode="L").convert("I;16") if mode == "I;16" else picture(mode=mode)
    packed = images.pack(encoded(image, kind), 40)
    assert tensors.to_tensor(packed.jpeg).shape == (3, 40, 60)


def test_sixteen_bits_keep_their_brightness():
    grey = Image.fromarray(np.full((80, 120), 32768, dtype=np.uint16))
    assert abs(pixels(images.pack(encoded(grey, "PNG"), 40).jpeg).mean() - 128) < 3


@pytest.mark.parametrize(
    "body", [b"", b"GIF89a", b"\xff\xd8\xff", b"<html>429</html>", b"\0" * 999]
)
def test_what_is_no_image_says_so(body):
    with pytest.raises(images.BadImage):
        images.checked_size(body)
    with pytest.raises(images.BadImage):
        images.pack(body, 40)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_truncated_file_does_not_decode(kind):
    body = encoded(picture(640, 480), kind)
    assert images.checked_size(body) == (640, 480)
    with pytest.raises(images.BadImage, match="decoded"):
        images.checked_size(body[:-900])
    with pytest.raises(images.BadImage, match="decoded"):
        images.pack(body[:-900], 40)


@pytest.mark.parametrize("colour", [(228, 227, 223), (0, 0, 0)])
def test_a_sentence_instead_of_a_view_is_flat(colour):
    sorry = Image.new("RGB", (600, 400), colour)
    ImageDraw.Draw(sorry).text((200, 190), "Sorry, we have no imagery here.", fill=(120, 120, 120))
    assert images.is_flat(encoded(sorry, "JPEG"))
    assert images.is_flat(encoded(sorry, "PNG"))
    assert not images.is_flat(encoded(picture(600, 400), "JPEG"))
    fog = np.random.default_rng(0).normal(190, 12, (400, 600, 3)).clip(0, 255).astype(np.uint8)
    fog[250:] //= 2  # a road in fog
    assert not images.is_flat(encoded(Image.fromarray(fog), "JPEG"))


def test_a_bomb_is_not_decoded():
    body = encoded(Image.new("1", (8, 8)), "PNG")
    header = b"IHDR" + struct.pack(">II", 65000, 65000) + body[24:29]
    claims = body[:12] + header + struct.pack(">I", zlib.crc32(header)) + body[33:]
    with pytest.raises(images.BadImage, match="too many"):
        images.pack(claims, 40)


def test_a_strip_is_no_photo():
    with pytest.raises(images.BadImage, match="strip"):
        images.pack(encoded(picture(1000, 10)), 40)


def test_suffix_follows_content():
    assert images.suffix_of(encoded(picture(), "PNG")) == ".png"
    assert images.suffix_of(encoded(picture(), "JPEG")) == ".jpg"


@pytest.mark.parametrize(("orientation", "size"), [(1, (60, 40)), (3, (60, 40)), (6, (40, 60))])
def test_orientation_is_applied(orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    packed = images.pack(encoded(picture(), exif=exif), 40)
    assert (packed.width, packed.height) == size
    upright = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270}[orientation]
    reference = picture() if upright is None else picture().transpose(upright)
    reference = np.asarray(reference.resize(size, Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(pixels(packed.jpeg) - reference).mean() < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_no_metadata_survives(kind):
    exif = Image.Exif()
    exif[0x010F] = "SECRETMAKER"
    exif.get_ifd(0x8825)[1] = "S"
    options = {"comment": b"latitude: 12.345"} if kind == "JPEG" else {}
    body = encoded(picture(), kind, exif=exif.tobytes(), **options)
    assert b"SECRETMAKER" in body
    for out in (images.pack(body, 40).jpeg, images.thumbnail(body)):
        assert b"SECRETMAKER" not in out
        assert b"12.345" not in out
        assert b"Exif" not in out
        assert not Image.open(io.BytesIO(out)).info.keys() & {"exif", "comment", "icc_profile"}


def test_the_same_picture_has_the_same_hash_and_another_has_not():
    def hashed(width, height, seed=0, **options):
        image = picture(width, height, seed=seed, detail=24)
        return np.frombuffer(images.pack(encoded(image, **options), 64).phash, dtype=np.uint64)

    original = hashed(640, 480)
    assert folds.hamming(original, hashed(640, 480, quality=40)) <= 12
    assert folds.hamming(original, hashed(320, 240, quality=80)) <= 12
    assert folds.hamming(original, hashed(640, 480, seed=1)) > 40


def test_small_photos_are_enlarged_and_long_ones_stay_long():
    assert images.pack(encoded(picture(30, 20)), 40).height == 40
    assert images.pack(encoded(picture(900, 90)), 40).width == 400


def test_pack_side_leaves_a_margin():
    assert images.pack_side(224) == 256
    assert images.pack_side(64) == 74


def seen(photo) -> np.ndarray:
    return images.square(photo, 32).astype(int)


@pytest.mark.parametrize("name", STRANGE)
def test_strange_files_show_their_picture(name):
    """Of what moves, the first."""
    off = np.abs(seen(STRANGE[name]()) - seen(encoded(picture(), "PNG")))
    assert off.mean() < 6
    other = np.abs(seen(STRANGE[name]()) - seen(encoded(picture(seed=1), "PNG")))
    assert other.mean() > 30


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright_however_the_camera_was_held(orientation):
    image = picture(240, 160)
    body = stored(orientation, image)
    expected = seen(encoded(image))
    for photo in (body, Image.open(io.BytesIO(body))):
        assert np.abs(seen(photo) - expected).mean() < 2
    assert orientation == 1 or np.abs(seen(image.rotate(180)) - expected).mean() > 30


def test_what_is_transparent_is_white():
    image = picture(mode="RGBA")
    image.paste((200, 0, 0, 0), (0, 0, 60, 80))  # the left half
    alike = [image, encoded(image, "PNG"), encoded(image, "WEBP", lossless=True)]
    palette = Image.new("P", (120, 80), 1)
    palette.putpalette([200, 0, 0, 10, 20, 200])
    palette.paste(0, (0, 0, 60, 80))
    alike += [encoded(palette, "PNG", transparency=0), encoded(palette, "GIF", transparency=0)]
    for photo in alike:
        square = seen(photo)
        assert square[:, :12].min() > 245
        assert np.abs(square[:, 20:] - 255).mean() > 50


def test_fifty_megapixels_are_seen_as_their_small_copy():
    small = picture(128, 96)
    large = small.resize((8192, 6144), Image.Resampling.NEAREST)
    assert np.abs(seen(encoded(large)) - seen(small)).mean() < 3


def test_no_more_is_left_out_of_a_large_jpeg_than_of_its_pixels():
    image = picture(1200, 800, detail=80)
    body = encoded(image, quality=98)
    assert np.abs(images.square(body, 224).astype(int) - images.square(image, 224)).mean() < 2


@settings(max_examples=60)
@example(253, 253, "L", 18, 64)  # grey: one pixel that differs is three values that do
@given(
    st.integers(16, 300),
    st.integers(16, 300),
    st.sampled_from(["RGB", "L"]),
    st.integers(2, 24),
    st.sampled_from([16, 33, 64]),
)
def test_without_torch_a_value_differs_by_one_or_hardly_ever_two(
    width, height, mode, detail, image_size
):
    image = picture(width, height, mode, detail=detail)
    body = encoded(image)
    ours = images.square(body, image_size)
    packed = images.pack(body, images.pack_side(image_size)).jpeg
    assert images.packed_jpeg(body, images.pack_side(image_size)) == packed
    torchs = tensors.whole(tensors.to_tensor(packed), image_size).permute(1, 2, 0).numpy()
    assert ours.shape == torchs.shape == (image_size, image_size, 3)
    assert ours.dtype == torchs.dtype == np.uint8
    off = np.abs(ours.astype(int) - torchs)
    assert off.max() <= 2 and (off.max(axis=2) == 2).sum() <= 1  # pixel


@pytest.mark.parametrize("size", [(1, 1), (15, 40), (40, 15)])
def test_too_few_pixels_say_so(size):
    image = Image.new("RGB", size)
    says = f"{size[0]} x {size[1]} pixels are too few"
    for photo in (encoded(image), encoded(image, "PNG"), image, np.array(image)):
        with pytest.raises(images.BadImage, match=says):
            images.square(photo, 32)
    assert images.square(Image.new("RGB", (16, 16)), 32).shape == (32, 32, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "TIFF"])
def test_any_file_may_be_cut_off(kind):
    body = encoded(picture(400, 300), kind)
    for part in (body[: len(body) // 2], body[: len(body) // 20], body[:3]):
        with pytest.raises(images.BadImage):
            images.square(part, 32)


def test_a_picture_of_a_closed_file_says_so(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(encoded(picture()))
    with Image.open(tmp_path / "photo.jpg") as image:
        pass
    with pytest.raises(images.BadImage, match="cannot be decoded"):
        images.square(image, 32)


def test_hamming_counts_bits():
    a = np.zeros((2, 4), dtype=np.uint64)
    b = a.copy()
    b[0, 3] = 0b1011
    assert folds.hamming(a, b).tolist() == [3, 0]
