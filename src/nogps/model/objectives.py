"""What a network is trained for: the parameter `loss` names one of OBJECTIVES.

Each objective says how many outputs the network needs, what it is told of a photo, and how its
outputs become scores of the classes. Photos outside every class teach where the loss allows it.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nogps.earth import geo
from nogps.model.classes import Partition


class Softmax(nn.Module):
    """Each photo is of its own class and of no other."""

    def __init__(self, partition: Partition, smoothing_km: float):
        super().__init__()
        self.partition = partition
        self.outputs = len(partition)

    def targets(self, latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> Tensor:
        """What `forward` takes of photos at positions (n,) in degrees, a row each."""
        return torch.from_numpy(self.partition.assign(latitude, longitude))

    def teaches(self, targets: Tensor) -> Tensor:
        """Which photos there is anything to learn from, shape (n,)."""
        return targets >= 0

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each photo, shape (n,), of float outputs of shape (n, outputs)."""
        return functional.cross_entropy(outputs, targets, reduction="none")

    def scores(self, outputs: Tensor) -> Tensor:
        """Logits of the classes, shape (n, classes)."""
        return outputs


class Smoothed(Softmax):
    """Near classes are nearly right: targets fall off as exp(-distance / smoothing_km).

    Haas, Skreta, Alberti and Finn, "PIGEON" (CVPR 2024), with the class points as centroids. The
    point of a half of the world says little of where it ends, so for the two halves distance is
    that from the half itself. Every photo teaches, those outside every class too.
    """

    def __init__(self, partition: Partition, smoothing_km: float):
        super().__init__(partition, smoothing_km)
        self.smoothing_km = smoothing_km
        vectors = geo.to_unit_vectors(*partition.points()).astype(np.float32)
        self.register_buffer("points", torch.from_numpy(vectors), persistent=False)

    def targets(self, latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> Tensor:
        """The positions as unit vectors, shape (n, 3)."""
        return torch.from_numpy(geo.to_unit_vectors(latitude, longitude).astype(np.float32))

    def teaches(self, targets: Tensor) -> Tensor:
        """All of them."""
        return torch.ones(len(targets), dtype=torch.bool)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy with the smoothed targets, shape (n,)."""
        return functional.cross_entropy(outputs, self.smooth(targets), reduction="none")

    def smooth(self, targets: Tensor) -> Tensor:
        """Probability that each class should have, shape (n, classes)."""
        if self.partition.divide is not None:
            latitude = torch.asin(targets[:, 2].clamp(-1.0, 1.0))
            north = geo.EARTH_RADIUS_KM * (latitude - math.radians(self.partition.divide))
            km = torch.stack([north, -north], dim=1).clamp(min=0.0)
        else:
            chord = torch.cdist(targets, self.points, compute_mode="donot_use_mm_for_euclid_dist")
            km = 2 * geo.EARTH_RADIUS_KM * torch.asin((chord / 2).clamp(max=1.0))
        return torch.softmax(-km / self.smoothing_km, dim=1)


class Hierarchical(Softmax):
    """One softmax over the classes, and a loss at each level of the cells that hold them.

    The probability of a cell is the sum of those of the classes in it; the loss is the mean over
    the levels, as in OpenStreetView-5M (Astruc et al., CVPR 2024). A photo outside every class
    teaches about those cells that hold it and some class.
    """

    def __init__(self, partition: Partition, smoothing_km: float):
        super().__init__(partition, smoothing_km)
        held = groups(partition.descent(), np.arange(len(partition)))
        self.register_buffer("groups", torch.from_numpy(held), persistent=False)

    def targets(self, latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> Tensor:
        """The group that holds each photo at each level, shape (n, levels); -1 where none does."""
        label = self.partition.assign(latitude, longitude)
        return torch.from_numpy(groups(self.partition.ancestry(latitude, longitude), label))

    def teaches(self, targets: Tensor) -> Tensor:
        """Those in any of the cells."""
        return (targets >= 0).any(dim=1)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over the levels of -log(probability of the right group), shape (n,)."""
        log_p = outputs.log_softmax(dim=1)
        total = torch.zeros_like(log_p[:, 0])
        for group, target in zip(self.groups.T, targets.T, strict=True):
            # A photo without a group at this level is given all of the probability: no loss.
            right = (group == target[:, None]) | (target[:, None] < 0)
            total = total - torch.where(right, log_p, -torch.inf).logsumexp(dim=1)
        return total / (targets >= 0).sum(dim=1).clamp(min=1)


class MultiLabel(Softmax):
    """A yes or no for each class and for each cell that holds some, with weight on the yes.

    Unweighted, no for everything is a good answer; the yeses of an output weigh as much as its
    noes. A class scores with its own yes and those of the cells around it.
    """

    def __init__(self, partition: Partition, smoothing_km: float):
        super().__init__(partition, smoothing_km)
        chain = self._outputs(partition.descent(), np.arange(len(partition)))
        self.outputs = len(partition) + len(partition.ancestors)
        photos = np.zeros(self.outputs)
        for column in chain.T:
            held = column >= 0
            photos += np.bincount(column[held], partition.photos[held], self.outputs)
        noes = np.maximum(partition.photos.sum() - photos, 1)
        self.register_buffer("chain", torch.from_numpy(chain), persistent=False)
        self.register_buffer(
            "yes_weight", torch.from_numpy(noes / photos).float(), persistent=False
        )

    def targets(self, latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> Tensor:
        """The outputs that should say yes, shape (n, levels + 1), filled up with -1."""
        label = self.partition.assign(latitude, longitude)
        return torch.from_numpy(self._outputs(self.partition.ancestry(latitude, longitude), label))

    def teaches(self, targets: Tensor) -> Tensor:
        """All of them: a photo in no cell is a no for each."""
        return torch.ones(len(targets), dtype=torch.bool)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean binary cross-entropy of the outputs, shape (n,)."""
        yes = torch.zeros_like(outputs).scatter_(1, targets.clamp(min=0), 1.0)
        yes[:, 0] = (targets == 0).any(dim=1).float()  # what filled up said yes to the first
        return functional.binary_cross_entropy_with_logits(
            outputs, yes, pos_weight=self.yes_weight, reduction="none"
        ).mean(dim=1)

    def scores(self, outputs: Tensor) -> Tensor:
        """Mean log of the yeses from the largest cell down, shape (n, classes).

        A mean, since a sum would favour the coarse classes, which have fewer cells around them.
        """
        log_yes = -functional.softplus(-outputs)  # logsigmoid, also where ONNX has float32 only
        total = torch.zeros_like(log_yes[:, : len(self.chain)])
        for column in self.chain.T:
            total += torch.where(column >= 0, log_yes[:, column.clamp(min=0)], 0.0)
        return total / (self.chain >= 0).sum(dim=1)

    def _outputs(self, ancestry: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.int64]:
        beyond = np.where(ancestry >= 0, len(self.partition) + ancestry, -1)
        return np.concatenate([beyond, label[:, None]], axis=1)


ANCESTORS = 1 << 32  # groups are numbered from here on, beyond any label

OBJECTIVES = {
    "softmax": Softmax,
    "smoothed": Smoothed,
    "multilabel": MultiLabel,
    "hierarchical": Hierarchical,
}


def build(loss: str, partition: Partition, smoothing_km: float) -> Softmax:
    """The objective of that name."""
    return OBJECTIVES[loss](partition, smoothing_km)


def class_weights(photos: NDArray[np.int64], labels: NDArray[np.int64], balance: float) -> Tensor:
    """What each photo's loss counts, shape (n,), mean 1: (photos of its class) ** -balance.

    0 is as they come; 1 gives every class the same say; a photo outside every class has label -1
    and the median weight.
    """
    of_class = photos.astype(float) ** -balance
    weights = np.where(labels >= 0, of_class[labels], np.median(of_class))
    return torch.from_numpy(weights / weights.mean()).float()


def groups(ancestry: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which group holds what, at each level of ancestors and at last that of the classes.

    `ancestry` has shape (n, levels), `label` (n,). A group is an ancestor of that level, numbered
    from ANCESTORS on, or else a class by its label; -1 where neither holds it. Shape
    (n, levels + 1).
    """
    column = label[:, None]
    return np.concatenate([np.where(ancestry >= 0, ANCESTORS + ancestry, column), column], axis=1)
