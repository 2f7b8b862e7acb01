import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional

from nogps.model import tensors
from nogps.photos import images
from tests.locators import varied
from tests.pictures import encoded, picture, pixels


def unpacked(image: Image.Image, side=40):
    return tensors.to_tensor(images.pack(encoded(image), side).jpeg)


def test_the_tensor_has_the_packed_pixels():
    jpeg = images.pack(encoded(picture()), 40).jpeg
    tensor = tensors.to_tensor(jpeg)
    assert tensor.is_contiguous() is False and tensor.permute(1, 2, 0).is_contiguous()
    assert (tensor.permute(1, 2, 0).numpy() == pixels(jpeg)).all()


def test_the_whole_photo_is_squeezed_not_cropped():
    whole = tensors.whole(unpacked(picture()), 24)
    reference = picture().resize((24, 24), Image.Resampling.BILINEAR)
    assert whole.shape == (3, 24, 24)
    assert np.abs(whole.permute(1, 2, 0).numpy() - np.asarray(reference).astype(int)).mean() < 6


def test_without_any_augmentation_the_whole_photo_is_seen():
    nothing = varied(crop=1, colour=0)
    for seed in range(5):
        square = tensors.augmented(unpacked(picture()), 24, nothing, np.random.default_rng(seed))
        assert (square == tensors.whole(unpacked(picture()), 24)).all()


@pytest.mark.parametrize(
    "settings",
    [
        varied(),
        varied(crop=0.2, colour=0),
        varied(crop=1, colour=0.4),
        varied(erase=1),
    ],
)
def test_augmentation_depends_on_its_generator_alone(settings):
    tensor = unpacked(picture())
    once, again, other = (
        tensors.augmented(tensor, 32, settings, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert once.shape == (3, 32, 32) and once.dtype == tensor.dtype
    assert (once == again).all()
    assert (once != other).any()
    assert (tensor == unpacked(picture())).all()


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.floats(0.01, 1),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4),
)
def test_a_crop_is_a_part_large_enough(size, smallest, drawn):
    top, left, high, wide = tensors._crop(size, smallest, drawn)
    assert 0 <= top < top + high <= size[0]
    assert 0 <= left < left + wide <= size[1]
    assert (high + 0.5) * (wide + 0.5) >= smallest * size[0] * size[1] * 0.999
    if smallest == 1:
        assert (high, wide) == size


def test_crops_reach_every_edge():
    drawn = np.random.default_rng(0).random((500, 4))
    boxes = np.array([tensors._crop((60, 90), 0.5, each) for each in drawn])
    assert (boxes[:, :2].min(axis=0) == 0).all()
    assert ((boxes[:, :2] + boxes[:, 2:]).max(axis=0) == (60, 90)).all()
    share = (boxes[:, 2] * boxes[:, 3]) / (60 * 90)
    assert share.min() < 0.55 and share.max() > 0.95 and abs(share.mean() - 0.75) < 0.03


def test_colour_is_what_torchvisions_three_functions_make():
    """In one step; they clip and round between theirs, so the picture is a pale one."""
    pale = Image.fromarray(np.asarray(picture()) // 3 + 80)
    square = tensors.whole(unpacked(pale), 32)
    for brightness, contrast, saturation in [
        (1.2, 1, 1),
        (1, 0.8, 1),
        (1, 1, 1.2),
        (0.9, 1.2, 0.8),
    ]:
        reference = functional.adjust_saturation(square.float() / 255, saturation)
        reference = functional.adjust_contrast(reference, contrast)
        reference = functional.adjust_brightness(reference, brightness) * 255
        ours = tensors._recoloured(square, brightness, contrast, saturation)
        assert abs(ours.float() - reference).max() <= 2.5


def test_colours_do_not_wrap_around():
    bright = tensors.to_tensor(encoded(Image.new("RGB", (32, 32), (250, 250, 250))))
    assert tensors._recoloured(bright, 1.4, 1, 1).min() == 255
    mixed = tensors.to_tensor(encoded(Image.new("RGB", (32, 32), (255, 0, 0)), quality=100))
    red, green, blue = tensors._recoloured(mixed, 1, 1, 1.4).flatten(1).float().mean(1)
    assert red == 255 and green == blue == 0


def test_each_augmentation_leaves_the_draws_of_the_others():
    tensor = unpacked(picture())

    def drawn(**settings):
        settings = varied(**settings)
        return tensors.augmented(tensor, 32, settings, np.random.default_rng(0))

    assert (drawn(erase=1) == drawn()).float().mean() > 0.75
    assert (drawn(crop=1, colour=0, erase=1) == drawn(crop=1, colour=0)).float().mean() > 0.75


def test_a_photo_is_not_mirrored():
    """A picture dark on the left stays so: it tells the side of the road."""
    ramp = np.tile(np.linspace(0, 255, 80, dtype=np.uint8)[None, :, None], (60, 1, 3))
    tensor = unpacked(Image.fromarray(ramp), side=60)
    for seed in range(50):
        square = tensors.augmented(tensor, 32, varied(), np.random.default_rng(seed)).float()
        assert square[..., :8].mean() < square[..., -8:].mean()


def test_erasing_blanks_a_rectangle_with_the_mean_colour():
    black = unpacked(Image.new("RGB", (120, 80)))
    blank = np.array(tensors.MEAN) * 255
    shares = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        square = tensors.augmented(black, 40, varied(erase=0.5), rng)
        erased = np.abs(square.permute(1, 2, 0).numpy() - blank).max(axis=2) <= 0.51
        if erased.any():
            high, wide = erased.any(axis=1).sum(), erased.any(axis=0).sum()
            assert erased.sum() == high * wide  # a rectangle
            shares.append(erased.mean())
    assert 60 < len(shares) < 140
    assert min(shares) > 0.01 and max(shares) < 0.22 and max(shares) - min(shares) > 0.1


def test_normalise_is_imagenets():
    batch = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    expected = (1 - torch.tensor(tensors.MEAN)) / torch.tensor(tensors.STD)
    with torch.inference_mode():
        assert torch.allclose(tensors.normalise(batch)[0, :, 0, 0], expected, atol=1e-5)
    pixels = batch.float().requires_grad_()
    tensors.normalise(pixels).sum().backward()  # what inference came across can be learned with
    assert torch.allclose(pixels.grad[0, :, 0, 0], 1 / (255 * torch.tensor(tensors.STD)))


# What a model is asked
