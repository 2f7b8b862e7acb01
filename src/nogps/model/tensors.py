"""Packed photos as tensors: whole to be answered, augmented to be learned, normalised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, device
from nogps.model.preprocessing import MEAN, STD

GREY = (0.299, 0.587, 0.114)  # how bright each colour is, ITU-R BT.601
LARGEST_STRETCH = 1.1  # how much higher or wider than the photo's shape a crop may be


def to_tensor(jpeg: bytes) -> Tensor:
    """uint8 RGB pixels of a packed photo, shape (3, height, width).

    As they come from the decoder, a pixel's three colours side by side (torch's channels_last);
    torchvision resizes this order in half the time of the other.
    """
    import torch

    return torch.from_numpy(simplejpeg.decode_jpeg(jpeg)).permute(2, 0, 1)


def whole(pixels: Tensor, image_size: int) -> Tensor:
    """The whole photo as a uint8 square: what a model sees outside training.

    Squeezed rather than cropped, since what tells a place is often at the edge.
    """
    from torchvision.transforms.v2 import functional as transforms

    return transforms.resize(pixels, [image_size, image_size], antialias=True)


@dataclass(frozen=True)
class Augmentation:
    """How photos are varied while a model trains."""

    crop: float = 0.5  # smallest share of the photo's area that a crop keeps; 1: the whole photo
    colour: float = 0.2  # how far brightness, contrast and saturation vary, each 1 +- colour
    mirror: bool = False  # half of the photos; it changes the side of the road people drive on
    erase: float = 0.0  # share of the photos in which a rectangle is blanked


def augmented(
    pixels: Tensor, image_size: int, augmentation: Augmentation, rng: np.random.Generator
) -> Tensor:
    """A random variant of a photo, as a uint8 square of shape (3, image_size, image_size).

    What is drawn for one kind of variation does not depend on whether the others are on. Blanked
    rectangles are those of Zhong et al. 2020 (Random Erasing), 2 to 20 % of the area.
    """
    from torchvision.transforms.v2 import functional as transforms

    top, left, high, wide = _crop(pixels.shape[1:], augmentation.crop, rng.random(4))
    factors = 1 + augmentation.colour * rng.uniform(-1, 1, 3)
    mirrored = rng.random() < 0.5
    erased, *rectangle = rng.random(5)
    square = transforms.resized_crop(
        pixels, top, left, high, wide, [image_size, image_size], antialias=True
    )
    if augmentation.colour:
        square = _recoloured(square, *factors.tolist())
    if augmentation.mirror and mirrored:
        square = square.flip(2)
    if erased < augmentation.erase:
        _erase(square, rectangle)
    return square


def _crop(size: tuple[int, int], smallest: float, drawn: NDArray) -> tuple[int, int, int, int]:
    """Top, left, height and width of a part whose area is at least `smallest` of the whole."""
    area = smallest + (1 - smallest) * drawn[0]
    # Its shape is that of the photo, but for a little, and what there is no room for.
    stretch = min(LARGEST_STRETCH, 1 / area) ** (2 * drawn[1] - 1)
    high, wide = (
        max(1, round(length * math.sqrt(share)))
        for length, share in zip(size, (area * stretch, area / stretch), strict=True)
    )
    top, left = int(drawn[2] * (size[0] - high + 1)), int(drawn[3] * (size[1] - wide + 1))
    return top, left, high, wide


def _recoloured(pixels: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Colours scaled about the grey of each pixel, values about their mean, then about black.

    All three at once, as one linear map of a pixel's colours.
    """
    import torch
    from torch.nn.functional import conv2d

    values = pixels[None].float()
    scale = brightness * contrast
    grey = torch.tensor(GREY).expand(3, 3)
    weight = scale * (saturation * torch.eye(3) + (1 - saturation) * grey)
    bias = brightness * (1 - contrast) * values.mean() + 0.5  # a half, since uint8 rounds down
    values = conv2d(values, weight.view(3, 3, 1, 1), bias.expand(3))[0].clamp_(0, 255)
    return values.short().byte()  # straight to uint8 takes three times as long


def _erase(pixels: Tensor, drawn: list[float]) -> None:
    """Blank a rectangle in place with the colour that normalises to nothing."""
    import torch

    side = pixels.shape[1]
    area, shape = 0.02 + 0.18 * drawn[0], 0.3 ** (2 * drawn[1] - 1)
    high, wide = (
        min(side, max(1, round(side * math.sqrt(share)))) for share in (area * shape, area / shape)
    )
    top, left = int(drawn[2] * (side - high + 1)), int(drawn[3] * (side - wide + 1))
    colour = torch.tensor(MEAN).mul(255).round().byte().view(3, 1, 1)
    pixels[:, top : top + high, left : left + wide] = colour


def normalise(batch: Tensor) -> Tensor:
    """Float pixels as the networks take them, from uint8 of shape (n, 3, size, size)."""
    mean, std = _mean_and_std(batch.device)
    return (batch.float() - mean) / std


@cache  # else each batch would make a GPU wait for six numbers
def _mean_and_std(device: device) -> tuple[Tensor, Tensor]:
    import torch

    with torch.inference_mode(False):
        mean, std = (torch.tensor(each, device=device).view(3, 1, 1) * 255 for each in (MEAN, STD))
    return mean, std
