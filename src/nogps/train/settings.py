"""How a model is trained: parameters."""

from typing import Annotated, Literal

from pydantic import Field

from nogps.base.settings import Count, CountOrZero, Share
from nogps.model.settings import Augmentation, ModelSettings


class TrainSettings(ModelSettings):
    """How a network is fitted; with those of the model, all that decides what training gives."""

    seed: CountOrZero
    epochs: CountOrZero
    head_epochs: CountOrZero
    batch_size: Annotated[int, Field(ge=2)]
    lr: Annotated[float, Field(gt=0)]
    head_lr: Annotated[float, Field(gt=0)]
    first_layers_lr: Annotated[float, Field(gt=0, le=1)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    head_weight_decay: Annotated[float, Field(ge=0)]
    averaging: Annotated[float, Field(ge=0, lt=1)]
    start_share: Share
    augment: Augmentation
    precision: Literal["auto", "bf16", "fp32"]
    patience: Count
