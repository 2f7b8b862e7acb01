"""What a model is, and how its training photos are varied: parameters."""

from typing import Annotated, Literal

from pydantic import Field

from nogps.base.settings import Section, Share


class Augmentation(Section):
    """How training photos are varied."""

    crop: Annotated[float, Field(gt=0, le=1)]
    colour: Annotated[float, Field(ge=0, lt=1)]
    mirror: bool
    erase: Share


class ModelSettings(Section):
    """What is learned: network, classes, loss."""

    backbone: str
    weights: str
    image_size: Annotated[int, Field(ge=32, le=1024)]
    loss: Literal["softmax", "smoothed", "multilabel", "hierarchical"]
    smoothing_km: Annotated[float, Field(gt=0)]
    class_balance: Share
    decoding: Literal["densest", "class_mean", "class_centre"]
