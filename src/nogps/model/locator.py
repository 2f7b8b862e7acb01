"""From a photo to a place: a trained model with all that it needs, in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nogps.base.errors import InputError
from nogps.model import backbones, batches, objectives, tensors
from nogps.model.base_locator import FORMAT, BaseLocator
from nogps.model.batches import Photos
from nogps.model.classes import Partition, partition_of
from nogps.model.decode import chunks
from nogps.model.guess import Floats
from nogps.model.settings import ModelSettings
from nogps.photos import images
from nogps.photos.images import Photo


@dataclass(frozen=True)
class Locator(BaseLocator):
    """A locator whose network runs in PyTorch: what training fills, and what `load` gives."""

    network: nn.Module

    @classmethod
    def untrained(
        cls, partition: Partition, settings: ModelSettings, about: Mapping[str, str]
    ) -> Locator:
        """A locator that has learned no place; InputError if the settings fit no network."""
        outputs = objectives.objective_class(settings.loss).Head(partition).outputs
        network = backbones.build(settings.backbone, outputs, settings.weights)
        backbones.check_size(network, settings.backbone, settings.image_size)
        what = settings.backbone, settings.image_size, settings.loss, settings.decoding
        return cls(network, partition, *what, about=about)

    @classmethod
    def load(cls, path: str | Path) -> Locator:
        """Read a file that `save` wrote; InputError if it is anything else."""
        content = _read(Path(path))
        try:
            head = objectives.objective_class(content["loss"]).Head(partition_of(content["cells"]))
            network = backbones.build(content["backbone"], head.outputs)
            network.load_state_dict(content["weights"])
            return cls.restored(network.eval(), content)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except Exception:  # what is in the file may break anything
            raise InputError(f"{path} is damaged; train it again, or `dvc pull` it") from None

    def save(self, path: Path) -> None:
        """Write everything that `load` needs into one file."""
        backbones.write_torch(path, {**self.description(), "weights": self.network.state_dict()})

    @cached_property
    def head(self) -> objectives.ClassHead:
        """How the network's outputs become scores of the classes; on the CPU."""
        return objectives.objective_class(self.loss).Head(self.partition)

    def square(self, photo: Photo) -> NDArray[np.uint8]:
        """A photo as the network sees it, shape (image_size, image_size, 3)."""
        jpeg = images.packed_jpeg(photo, images.pack_side(self.image_size))
        pixels = tensors.whole(tensors.to_tensor(jpeg), self.image_size)
        return pixels.permute(1, 2, 0).numpy()

    def scores(self, square: NDArray[np.uint8]) -> Floats:
        """Logits of the classes, shape (classes,), of a photo as the network sees it."""
        # As batches lie in memory, and one by one as `predict` asks: the same bits come out.
        batch = torch.from_numpy(square)[None].permute(0, 3, 1, 2)
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            outputs = self.network(tensors.normalise(batch.to(device)))
        return self.class_scores(outputs.float())[0]

    def predict(self, photos: Photos, batch_size: int) -> Tensor:
        """The network's outputs for packed photos, shape (n, outputs), on a GPU if there is one."""
        # On a CPU one by one: then an answer's last bits do not depend on what else is asked.
        if not torch.cuda.is_available():
            return batches.predict(self.network, photos, 1)
        device = torch.device("cuda", torch.cuda.current_device())
        return batches.predict(self.network.to(device), photos, batch_size)

    def class_scores(self, outputs: Tensor) -> Floats:
        """Logits of the classes, shape (n, classes), for the network's outputs (n, outputs)."""
        found = np.empty((len(outputs), len(self.partition)))
        for chunk in chunks(len(outputs), self.head.outputs):
            found[chunk] = self.head(outputs[chunk].cpu().double()).numpy()
        return found


def _read(path: Path) -> dict[str, Any]:
    """What a model file holds; InputError if it is none, or of another format."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        told = f"{path} is not there; name a model, or train one with `dvc repro`"
        raise InputError(told) from None
    except Exception as error:  # torch raises many kinds for files that are no models
        if path.suffix == ".onnx":
            raise InputError(f"{path} is an exported model; OnnxLocator loads it") from None
        kind = type(error).__name__
        raise InputError(f"{path} is no nogps model ({kind}); `dvc repro` trains one") from None
    if not isinstance(content, dict) or "format" not in content:
        raise InputError(f"{path} is no nogps model; `dvc repro` trains one")
    if content["format"] != FORMAT:
        raise InputError(f"{path} was made by another version of nogps; train it again")
    return content
