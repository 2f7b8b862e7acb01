import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from nogps import images


def picture(width=120, height=80, mode="RGB", seed=0, detail=6) -> Image.Image:
    """Smooth random colours, so that JPEG changes little."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, size=(detail, detail * 3 // 2, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, kind="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)


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
    assert images.to_tensor(packed.jpeg).shape == (3, 40, 60)


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
    assert images.hamming(original, hashed(640, 480, quality=40)) <= 12
    assert images.hamming(original, hashed(320, 240, quality=80)) <= 12
    assert images.hamming(original, hashed(640, 480, seed=1)) > 40


def test_small_photos_are_enlarged_and_long_ones_stay_long():
    assert images.pack(encoded(picture(20, 10)), 40).height == 40
    assert images.pack(encoded(picture(900, 90)), 40).width == 400


def test_pack_side_leaves_a_margin():
    assert images.pack_side(224) == 256
    assert images.pack_side(64) == 74


def test_augmentation_depends_on_its_generator_alone():
    tensor = images.to_tensor(images.pack(encoded(picture()), 40).jpeg)
    once, again, other = (
        images.augmented(tensor, 32, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert once.shape == (3, 32, 32)
    assert (once == again).all()
    assert (once != other).any()


def test_augmentation_never_mirrors():
    """A picture dark on the left and bright on the right stays so."""
    ramp = np.tile(np.linspace(0, 255, 80, dtype=np.uint8)[None, :, None], (60, 1, 3))
    tensor = images.to_tensor(images.pack(encoded(Image.fromarray(ramp)), 60).jpeg)
    for seed in range(50):
        square = images.augmented(tensor, 32, np.random.default_rng(seed)).float()
        assert square[..., :8].mean() < square[..., -8:].mean()


def test_normalise_is_imagenets():
    import torch

    batch = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    expected = (1 - torch.tensor(images.MEAN)) / torch.tensor(images.STD)
    assert torch.allclose(images.normalise(batch)[0, :, 0, 0], expected, atol=1e-5)


def test_hamming_counts_bits():
    a = np.zeros((2, 4), dtype=np.uint64)
    b = a.copy()
    b[0, 3] = 0b1011
    assert images.hamming(a, b).tolist() == [3, 0]
