"""What the outputs of a network stand for, and how they become scores of the classes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nogps.model.classes import Partition


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

    chain: Tensor  # outputs of the cells around each class and its own, (classes, levels + 1); -1

    def __init__(self, partition: Partition):
        super().__init__(partition)
        self.classes = len(partition)
        self.outputs = len(partition) + len(partition.ancestors)
        chain = self.chains(partition.descent(), np.arange(len(partition)))
        self.register_buffer("chain", torch.from_numpy(chain), persistent=False)

    def chains(self, ancestry: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.int64]:
        """The outputs that hold each photo, the largest cell first, shape (n, levels + 1).

        `ancestry`, shape (n, levels), and `label`, shape (n,), are as a Partition gives them;
        -1 stands where nothing holds it.
        """
        beyond = np.where(ancestry >= 0, self.classes + ancestry, -1)
        return np.concatenate([beyond, label[:, None]], axis=1)

    def forward(self, outputs: Tensor) -> Tensor:
        """Mean log probability from the largest cell down, shape (n, classes).

        A mean, since a sum would favour the coarse classes, which have fewer cells around them.
        """
        log_yes = -functional.softplus(-outputs)  # logsigmoid, also where ONNX has float32 only
        total = torch.zeros_like(log_yes[:, : self.classes])
        for column in self.chain.T:
            total += torch.where(column >= 0, log_yes[:, column.clamp(min=0)], 0.0)
        return total / (self.chain >= 0).sum(dim=1)
