"""How a model is trained: parameters."""

import math
from typing import Annotated, Literal

from pydantic import Field

from nogps.base.settings import Count, CountOrZero
from nogps.model.settings import Augmentation, ModelSettings


class TrainSettings(ModelSettings):
    """How a network is fitted; with those of the model, all that decides what training gives."""

    seed: CountOrZero
    """Of everything that is drawn: planet, folds, weights, order, crops."""
    epochs: CountOrZero
    """Epochs of the whole network, at most; 0 trains the head alone."""
    head_epochs: CountOrZero
    """Epochs of a linear probe (the head alone) before them, if pretrained."""
    batch_size: Annotated[int, Field(ge=2)]
    """Photos in a batch, of all processes together."""
    lr: Annotated[float, Field(gt=0)]
    """Highest learning rate of the last layers."""
    head_lr: Annotated[float, Field(gt=0)]
    """Learning rate of the linear probe."""
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    """Factor of the rate from one of 8 groups of layers to the one before, if pretrained."""
    warmup: Annotated[float, Field(ge=0, lt=1)]
    """Share of the steps in which the rate rises; then it falls as a cosine."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Weight decay (AdamW)."""
    head_weight_decay: Annotated[float, Field(ge=0)]
    """Weight decay of the linear probe."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    """Decay of the exponential moving average of the weights; 0: off."""
    augment: Augmentation
    precision: Literal["auto", "bf16", "fp32"]
    """auto: bf16 on a GPU, fp32 on a CPU."""
    patience: Count
    """Epochs without a better validation score before training stops."""

    def rate(self, step: int, steps: int) -> float:
        """Share of the highest rate at a step: it rises in a line, then falls as half a cosine."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
