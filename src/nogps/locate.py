"""From a photo to a place: a trained model with all that it needs."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nogps import images, model
from nogps.errors import InputError
from nogps.partition import Partition

FORMAT = 1  # of the model file


@dataclass(frozen=True)
class Guess:
    """Where the model puts a photo."""

    latitude: float
    longitude: float
    confidence: float  # probability of the cell, 0 to 1
    cell: str  # S2 token


@dataclass(frozen=True)
class Locator:
    """A network, its classes and its preprocessing."""

    network: nn.Module
    partition: Partition
    backbone: str
    image_size: int

    @classmethod
    def load(cls, path: str | Path) -> "Locator":
        """Read a file that `save` wrote; InputError if it is anything else."""
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise InputError(f"{path} is not there; `dvc repro` trains a model") from None
        except Exception as error:  # torch raises many kinds for files that are no models
            raise InputError(f"{path} is no nogps model ({type(error).__name__})") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(f"{path} was made by another version of nogps; train it again")
        try:
            partition = Partition(
                **{name: np.array(values) for name, values in content["cells"].items()}
            )
            network = model.build(content["backbone"], len(partition))
            network.load_state_dict(content["weights"])
            return cls(network.eval(), partition, content["backbone"], content["image_size"])
        except (KeyError, RuntimeError, TypeError):
            raise InputError(f"{path} is damaged; train it again, or `dvc pull` it") from None

    def save(self, path: Path) -> None:
        """Write everything that `load` needs into one file."""
        content = {
            "format": FORMAT,
            "backbone": self.backbone,
            "image_size": self.image_size,
            "cells": {
                each.name: getattr(self.partition, each.name).tolist()
                for each in fields(self.partition)
            },
            "weights": self.network.state_dict(),
        }
        model.write_torch(path, content)

    def locate(self, photo: str | Path | bytes) -> Guess:
        """Where a photo (a path, or a file's bytes) was taken, by its pixels alone.

        Raises:
            images.BadImage: it is no picture that can be read.
        """
        body = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
        packed = images.pack(body, images.pack_side(self.image_size))
        pixels = images.whole(images.to_tensor(packed.jpeg), self.image_size)
        with torch.inference_mode():
            scores = self.network(images.normalise(pixels[None]))
        return self.guesses(scores.float())[0]

    def guesses(self, scores: Tensor) -> list[Guess]:
        """The most probable class's point for each row of scores, shape (n, classes)."""
        confidence, label = scores.softmax(dim=1).max(dim=1)
        latitude, longitude = self.partition.points()
        return [
            Guess(
                float(latitude[each]),
                float(longitude[each]),
                sure,
                str(self.partition.tokens[each]),
            )
            for each, sure in zip(label.tolist(), confidence.tolist(), strict=True)
        ]
