"""Locators without training, and truths that their scores are right about."""

from dataclasses import fields
from functools import cache

import numpy as np
import torch
from torch import nn

from nogps.dataset.cells import fixed_level
from nogps.model import backbones, tensors
from nogps.model.classes import Partition
from nogps.model.guess import Calibration
from nogps.model.locator import Locator
from nogps.model.settings import Augmentation
from tests.partitions import softmax
from tests.pictures import picture

BACKBONE = "shufflenet_v2_x0_5"


CALIBRATION = Calibration(
    temperature=1.7,
    together=0.35,
    reach=0.35,
    together_reach=1.4,
    radius_50=1.2,
    radius_90=0.9,
    together_radius_50=0.7,
    together_radius_90=1.1,
)


@cache
def over_the_world() -> Partition:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 3))
    latitude = np.degrees(np.arctan2(vectors[:, 2], np.hypot(vectors[:, 0], vectors[:, 1])))
    longitude = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0]))
    return fixed_level(latitude, longitude, level=2, min_photos=4)


def varied(crop=0.5, colour=0.2, erase=0.0) -> Augmentation:
    return Augmentation(crop=crop, colour=colour, erase=erase)


def answering(partition: Partition, **how) -> Locator:
    """A locator whose network is its outputs."""
    return Locator(nn.Identity(), partition, "none", 64, **how)


def seeing(backbone=BACKBONE, build=backbones.build, **how) -> Locator:
    """A locator that puts different pictures in different places, as a trained one does.

    `build` makes its network, by the backbone's name and the number of classes.
    """
    partition = over_the_world()
    torch.manual_seed(0)
    network = build(backbone, len(partition)).eval()
    photos = [torch.from_numpy(np.array(picture(64, 64, seed=each))) for each in range(8)]
    batch = tensors.normalise(torch.stack(photos).permute(0, 3, 1, 2))
    head = [each for each in network.modules() if isinstance(each, nn.Linear)][-1]
    with torch.no_grad():
        head.weight *= 4 / network(batch).std(dim=0).mean()
        head.bias -= network(batch).mean(dim=0)
    return Locator(network, partition, backbone, 64, **how)


def same(one, other) -> bool:
    """Whether two dataclasses of arrays and numbers are alike to the last bit."""
    return all(
        np.array_equal(getattr(one, each.name), getattr(other, each.name)) for each in fields(one)
    )


def drawn(partition: Partition, n: int, seed: int, size=2.0):
    """Scores, and truths at class points that they are the log probabilities of."""
    rng = np.random.default_rng(seed)
    scores = size * rng.normal(size=(n, len(partition)))
    p = softmax(scores)
    label = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    latitude, longitude = (each[label] for each in partition.points())
    return torch.from_numpy(scores), latitude, longitude
