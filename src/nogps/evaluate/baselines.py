"""Baselines: answers that need no training of ours, for the rows beside the model's."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import nn

from nogps.earth import geo
from nogps.evaluate.protocol import Points
from nogps.model import batches
from nogps.model.batches import Photos

TINY = 16  # pixels: side of the thumbnails that nearest_neighbour compares without weights


def best_cell(truth: Points, points: Points) -> Points:
    """The oracle: for each photo the nearest of the points that the model may answer with."""
    nearest = NearestNeighbors(n_neighbors=1).fit(geo.to_unit_vectors(*points.T))
    chosen = nearest.kneighbors(geo.to_unit_vectors(*truth.T), return_distance=False)[:, 0]
    return points[chosen]


def most_common_cell(truth: Points, points: Points, photos: NDArray[np.int64]) -> Points:
    """Always the class with the most training photos."""
    return np.broadcast_to(points[np.argmax(photos)], truth.shape)


def chance(truth: Points, train: Points, seed: int) -> Points:
    """The position of a training photo drawn at random."""
    return train[np.random.default_rng(seed).integers(len(train), size=len(truth))]


def nearest_neighbour(features: np.ndarray, train: np.ndarray, positions: Points) -> Points:
    """The position of the training photo whose features are most like each photo's (cosine)."""
    nearest = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(train)
    return positions[nearest.kneighbors(features, return_distance=False)[:, 0]]


def features(photos: Photos, network: nn.Module | None, batch_size: int) -> NDArray[np.float32]:
    """Features of each photo that owe nothing to our training, shape (n, dimensions).

    What a frozen `network` sees before its head; without one, the centred pixels of a 16 x 16
    colour thumbnail (Torralba et al. 2008, as im2gps did).
    """
    if network is not None:
        return batches.features(network, photos, batch_size).numpy()

    def tiny(pixels: torch.Tensor) -> torch.Tensor:
        small = torch.nn.functional.interpolate(
            pixels.float(), size=(TINY, TINY), mode="bilinear", antialias=True
        ).flatten(1)
        return small - small.mean(dim=1, keepdim=True)

    return batches.of_each(photos, tiny, batch_size, "features").numpy()
