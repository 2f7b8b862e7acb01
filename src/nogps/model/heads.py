"""What the outputs of a network stand for, and how they become scores of the classes."""

import torch
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
