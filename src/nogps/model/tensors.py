"""Packed photos as tensors: whole to be answered, augmented to be learned, normalised."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from torch import Tensor, device
from torch.nn.functional import conv2d
from torchvision.transforms.v2 import functional as transforms

from nogps.model.settings import Augmentation

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of RGB, as torchvision's networks know
GREY = (0.299, 0.587, 0.114)  # how bright each colour is, ITU-R BT.601
LARGEST_STRETCH = 1.1  # how much higher or wider than the photo's shape a crop may be


def to_tensor(jpeg: bytes) -> Tensor:
    """uint8 RGB pixels of a packed photo, shape (3, height, width).

    As they come from the decoder, a pixel's three colours side by side (torch's channels_last);
    torchvision resizes this order in half the time of the other.
    """
    return torch.from_numpy(simplejpeg.decode_jpeg(jpeg)).permute(2, 0, 1)


def whole(pixels: Tensor, image_size: int) -> Tensor:
    """The whole photo squeezed to a uint8 square: what tells a place is often at the edge."""
    return transforms.resize(pixels, [image_size, image_size], antialias=True)


def augmented(
    pixels: Tensor, image_size: int, augmentation: Augmentation, rng: np.random.Generator
) -> Tensor:
    """A random variant of a photo, as a uint8 square of shape (3, image_size, image_size).

    What is drawn for one kind of variation does not depend on whether the others are on. Blanked
    rectangles are those of Zhong et al. 2020 (Random Erasing), 2 to 20 % of the area.
    """
    crop = _crop((pixels.shape[1], pixels.shape[2]), augmentation.crop, rng.random(4))
    factors = 1 + augmentation.colour * rng.uniform(-1, 1, 3)
    erased, *rectangle = rng.random(5)
    square = transforms.resized_crop(pixels, *crop, [image_size, image_size], antialias=True)
    if augmentation.colour:
        square = _recoloured(square, *factors.tolist())
    if erased < augmentation.erase:
        _erase(square, rectangle)
    return square


def _crop(size: tuple[int, int], smallest: float, drawn: NDArray) -> tuple[int, int, int, int]:
    """Top, left, height and width of a part whose area is at least `smallest` of the whole."""
    area = smallest + (1 - smallest) * drawn[0]
    # Its shape is that of the photo, but for a little, and what there is no room for.
    stretch = min(LARGEST_STRETCH, 1 / area) ** (2 * drawn[1] - 1)
    return _box(size, area, stretch, drawn[2:])


def _box(
    size: tuple[int, int], area: float, stretch: float, drawn: Sequence[float] | NDArray
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a part with a share of the area, higher by `stretch`."""
    high, wide = (
        min(length, max(1, round(length * math.sqrt(share))))
        for length, share in zip(size, (area * stretch, area / stretch), strict=True)
    )
    return int(drawn[0] * (size[0] - high + 1)), int(drawn[1] * (size[1] - wide + 1)), high, wide


def _recoloured(pixels: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Colours scaled about the grey of each pixel, values about their mean, then about black."""
    values = pixels[None].float()
    scale = brightness * contrast
    grey = torch.tensor(GREY).expand(3, 3)
    weight = scale * (saturation * torch.eye(3) + (1 - saturation) * grey)
    bias = brightness * (1 - contrast) * values.mean() + 0.5  # a half, since uint8 rounds down
    values = conv2d(values, weight.view(3, 3, 1, 1), bias.expand(3))[0].clamp_(0, 255)
    return values.short().byte()  # straight to uint8 takes three times as long


def _erase(pixels: Tensor, drawn: list[float]) -> None:
    """Blank a rectangle in place with the colour that normalises to nothing."""
    size = pixels.shape[1], pixels.shape[2]
    stretch = 0.3 ** (2 * drawn[1] - 1)
    top, left, high, wide = _box(size, 0.02 + 0.18 * drawn[0], stretch, drawn[2:])
    colour = torch.tensor(MEAN).mul(255).round().byte().view(3, 1, 1)
    pixels[:, top : top + high, left : left + wide] = colour


def normalise(batch: Tensor) -> Tensor:
    """Float pixels as the networks take them, from uint8 of shape (n, 3, size, size)."""
    mean, std = _mean_and_std(batch.device)
    return (batch.float() - mean) / std


@cache  # else each batch would make a GPU wait for six numbers
def _mean_and_std(device: device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):
        mean, std = (torch.tensor(each, device=device).view(3, 1, 1) * 255 for each in (MEAN, STD))
    return mean, std
