"""What a model is, and how its training photos are varied: parameters."""

from typing import Annotated, Literal

from pydantic import Field

from nogps.base.settings import Section, Share
from nogps.model.decode import DECODINGS

# What `loss` may name: module and class, which is imported when a network is built.
OBJECTIVES = {
    "softmax": "nogps.model.objectives:Softmax",
    "smoothed": "nogps.model.objectives:Smoothed",
    "multilabel": "nogps.model.objectives:MultiLabel",
    "hierarchical": "nogps.model.objectives:Hierarchical",
}


class Augmentation(Section):
    """How training photos are varied."""

    crop: Annotated[float, Field(gt=0, le=1)]
    """Smallest share of a photo that is shown; 1: all of it."""
    colour: Annotated[float, Field(ge=0, lt=1)]
    """How far brightness, contrast and saturation vary: 1 ± this."""
    erase: Share
    """Probability that a rectangle is blanked (random erasing)."""


class ModelSettings(Section):
    """What is learned: network, classes, loss."""

    backbone: str
    """Any torchvision classifier, by name."""
    weights: str
    """none, imagenet (downloaded by torchvision), or a path to a state dict."""
    image_size: Annotated[int, Field(ge=32, le=1024)]
    """Side in pixels of the squares that the model sees."""
    loss: Literal[*OBJECTIVES]  # type: ignore[valid-type]
    """Cross-entropy: of one class, of near ones too, of each alone, or of levels of cells."""
    smoothing_km: Annotated[float, Field(gt=0)]
    """Distance in km over which smoothed labels fall off."""
    class_balance: Share
    """0: each photo counts alike; 1: each class."""
    decoding: Literal[*DECODINGS]  # type: ignore[valid-type]
    """How probabilities become a place: where they are densest, or the likeliest class's point."""

    @property
    def pretrained(self) -> bool:
        """Whether training starts from weights that have learned something."""
        return self.weights != "none"
