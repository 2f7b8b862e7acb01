"""What a network is trained for: the parameter `loss` names one of OBJECTIVES.

Each objective says which head the network needs (what its outputs stand for, and how they become
scores of the classes), what it is told of a photo, and what it loses by an answer. Photos outside
every class teach where the loss allows it.
"""

import math
from pkgutil import resolve_name

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nogps.base.errors import InputError
from nogps.earth import geo
from nogps.model.classes import Halves, Partition
from nogps.model.settings import OBJECTIVES


class ClassHead(nn.Module):
    """One output for each class: its logit."""

    def __init__(self, partition: Partition):
        super().__init__()
        self.outputs = len(partition)

    def forward(self, outputs: Tensor) -> Tensor:
        """Logits of the classes, shape (n, classes), for outputs of shape (n, outputs)."""
        return outputs


class TreeHead(ClassHead):
    """One output for each class, then one for each cell that holds two or more of them.

    An output is the logit that a photo lies within. A class scores with its own output and those
    of the cells around it.
    """

    chain: Tensor  # outputs of the cells around each class and its own: `Partition.descent`

    def __init__(self, partition: Partition):
        super().__init__(partition)
        self.classes = len(partition)
        self.outputs = len(partition) + len(partition.ancestors)
        self.register_buffer("chain", torch.from_numpy(partition.descent()), persistent=False)

    def forward(self, outputs: Tensor) -> Tensor:
        """Mean log probability from the largest cell down, shape (n, classes)."""
        # A sum would favour the coarse classes, which have fewer cells around them.
        log_yes = -functional.softplus(-outputs)  # logsigmoid, also where ONNX has float32 only
        total = torch.zeros_like(log_yes[:, : self.classes])
        for column in self.chain.T:
            total += torch.where(column >= 0, log_yes[:, column.clamp(min=0)], 0.0)
        return total / (self.chain >= 0).sum(dim=1)


class Objective(nn.Module):
    """A loss over the outputs of a head; `smoothing_km` is for those that smooth their targets."""

    Head: type[ClassHead] = ClassHead  # what the outputs stand for

    def __init__(self, partition: Partition, smoothing_km: float):
        super().__init__()
        self.partition = partition
        self.head = self.Head(partition)

    def targets(self, latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> Tensor:
        """What `forward` takes of photos at positions (n,) in degrees, a row each."""
        return torch.from_numpy(self.partition.assign(latitude, longitude))

    def teaches(self, targets: Tensor) -> Tensor:
        """Which photos there is anything to learn from, shape (n,): those in a class."""
        return targets >= 0

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each photo, shape (n,), of float outputs of shape (n, outputs)."""
        raise NotImplementedError


class Softmax(Objective):
    """Cross-entropy: each photo is of its own class and of no other."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy with the label of each photo, shape (n,)."""
        return functional.cross_entropy(outputs, targets, reduction="none")


class Smoothed(Objective):
    """Near classes are nearly right: targets fall off as exp(-distance / smoothing_km).

    Haas, Skreta, Alberti and Finn, "PIGEON" (CVPR 2024), with the class points as centroids; of two
    halves of the world, whose points say little of where they end, with the halves themselves.
    """

    points: Tensor  # unit vectors, shape (classes, 3)

    def __init__(self, partition: Partition, smoothing_km: float):
        super().__init__(partition, smoothing_km)
        self.smoothing_km = smoothing_km
        vectors = geo.to_unit_vectors(*partition.points()).astype(np.float32)
        self.register_buffer("points", torch.from_numpy(vectors), persistent=False)

    def targets(self, latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> Tensor:
        """The positions as unit vectors, shape (n, 3)."""
        return torch.from_numpy(geo.to_unit_vectors(latitude, longitude).astype(np.float32))

    def teaches(self, targets: Tensor) -> Tensor:
        """Every photo, shape (n,)."""
        return torch.ones(len(targets), dtype=torch.bool)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy with the smoothed targets, shape (n,)."""
        return functional.cross_entropy(outputs, self.smooth(targets), reduction="none")

    def smooth(self, targets: Tensor) -> Tensor:
        """Probability that each class should have, shape (n, classes)."""
        if isinstance(self.partition, Halves):
            latitude = torch.asin(targets[:, 2].clamp(-1.0, 1.0))
            north = geo.EARTH_RADIUS_KM * (latitude - math.radians(self.partition.divide))
            km = torch.stack([north, -north], dim=1).clamp(min=0.0)
        else:
            chord = torch.cdist(targets, self.points, compute_mode="donot_use_mm_for_euclid_dist")
            km = 2 * geo.EARTH_RADIUS_KM * torch.asin((chord / 2).clamp(max=1.0))
        return torch.softmax(-km / self.smoothing_km, dim=1)


class Hierarchical(Objective):
    """One softmax over the classes, and a loss at each level of the cells that hold them.

    The probability of a cell is the sum of those of the classes in it; the loss is the mean over
    the levels, as in OpenStreetView-5M (Astruc et al., CVPR 2024). A photo outside every class
    teaches about those cells that hold it and some class.
    """

    groups: Tensor  # that hold each class at each level, shape (classes, levels + 1)

    def __init__(self, partition: Partition, smoothing_km: float):
        super().__init__(partition, smoothing_km)
        held = groups(partition.descent())
        self.register_buffer("groups", torch.from_numpy(held), persistent=False)

    def targets(self, latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> Tensor:
        """The group that holds each photo at each level, shape (n, levels); -1 where none does."""
        return torch.from_numpy(groups(self.partition.lineage(latitude, longitude)))

    def teaches(self, targets: Tensor) -> Tensor:
        """Those that lie in a class, or in a cell that holds some."""
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


class MultiLabel(Objective):
    """Binary cross-entropy for each class and each cell that holds some, with weight on the yes.

    Unweighted, no for everything is a good answer; so an output's yeses weigh as much as its noes.
    """

    Head = TreeHead
    head: TreeHead
    yes_weight: Tensor

    def __init__(self, partition: Partition, smoothing_km: float):
        super().__init__(partition, smoothing_km)
        chain = self.head.chain.numpy()
        label, _ = held = (chain >= 0).nonzero()
        photos = np.bincount(chain[held], partition.photos[label], self.head.outputs)
        noes = np.maximum(partition.photos.sum() - photos, 1)
        weight = torch.from_numpy(noes / photos).float()
        self.register_buffer("yes_weight", weight, persistent=False)

    def targets(self, latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> Tensor:
        """The outputs that should say yes, shape (n, levels + 1), filled up with -1."""
        return torch.from_numpy(self.partition.lineage(latitude, longitude))

    def teaches(self, targets: Tensor) -> Tensor:
        """Every photo, shape (n,)."""
        return torch.ones(len(targets), dtype=torch.bool)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean binary cross-entropy of the outputs, shape (n,)."""
        yes = torch.zeros_like(outputs).scatter_(1, targets.clamp(min=0), 1.0)
        yes[:, 0] = (targets == 0).any(dim=1).float()  # what filled up said yes to the first
        return functional.binary_cross_entropy_with_logits(
            outputs, yes, pos_weight=self.yes_weight, reduction="none"
        ).mean(dim=1)


def objective_class(loss: str) -> type[Objective]:
    """The class that OBJECTIVES names; InputError if it names none of that name."""
    if isinstance(loss, str) and loss not in OBJECTIVES:
        told = f"OBJECTIVES in nogps/model/settings.py has no loss `{loss}`; add its line"
        raise InputError(told)
    return resolve_name(OBJECTIVES[loss])


def class_weights(photos: NDArray[np.int64], labels: NDArray[np.int64], balance: float) -> Tensor:
    """What each photo's loss counts, shape (n,), mean 1: (photos of its class) ** -balance.

    A photo outside every class has label -1 and the median weight.
    """
    of_class = photos.astype(float) ** -balance
    weights = np.where(labels >= 0, of_class[labels], np.median(of_class))
    return torch.from_numpy(weights / weights.mean()).float()


def groups(lineage: NDArray[np.int64]) -> NDArray[np.int64]:
    """A lineage (n, levels + 1) where no ancestor holds it but some class does: then by that."""
    return np.where(lineage >= 0, lineage, lineage[:, -1:])
