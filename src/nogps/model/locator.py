"""From a photo to a place: a trained model with all that it needs.

The network scores classes. Scores become probabilities by a temperature (Guo et al., ICML 2017);
probabilities of photos of one place become one; probabilities become a density over the globe,
a point, and the radii round it that hold half and nine tenths. What that needs is fitted on the
validation fold, by `calibrated`.

torch is imported where it is needed, as in `images`: `OnnxLocator` answers without it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from nogps.base.errors import InputError
from nogps.earth import towns
from nogps.model import tensors
from nogps.model.classes import Partition
from nogps.photos import images
from nogps.photos.images import BadImage, Photo

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nogps.model.batches import Photos
    from nogps.model.objectives import Softmax
from nogps.model.calibrate import _off, _power, _reaches, _temperature
from nogps.model.decode import DECODINGS, Floats, _chunks, fuse, place, radii
from nogps.model.guess import BEST, Answers, Calibration, Cell, Guess

FORMAT = 3  # of the model file
AHEAD = 16  # photos decoded before their turn
AT_ONCE = 256  # photos whose probabilities are held at the same time


@dataclass(frozen=True)
class Locator:
    """A network, its classes, its preprocessing, and what turns its scores into places."""

    network: nn.Module
    partition: Partition
    backbone: str
    image_size: int
    loss: str = "softmax"
    decoding: str = "densest"  # of DECODINGS
    calibration: Calibration = Calibration()  # noqa: RUF009  it is frozen
    about: Mapping[str, str] = field(default_factory=dict)  # trained_on, licence, model_licence

    def __post_init__(self) -> None:
        if self.decoding not in DECODINGS or not isinstance(self.image_size, int):
            raise ValueError(f"decoding {self.decoding!r}, image_size {self.image_size!r}")

    @classmethod
    def load(cls, path: str | Path) -> Locator:
        """Read a file that `save` wrote; InputError if it is anything else."""
        import torch

        from nogps.model import backbones, objectives

        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise InputError(
                f"{path} is not there; name a model, or train one with `dvc repro`"
            ) from None
        except Exception as error:  # torch raises many kinds for files that are no models
            if Path(path).suffix == ".onnx":
                raise InputError(f"{path} is an exported model; OnnxLocator loads it") from None
            kind = type(error).__name__
            raise InputError(f"{path} is no nogps model ({kind}); `dvc repro` trains one") from None
        if not isinstance(content, dict) or "format" not in content:
            raise InputError(f"{path} is no nogps model; `dvc repro` trains one")
        if content["format"] != FORMAT:
            raise InputError(f"{path} was made by another version of nogps; train it again")
        try:
            partition = partition_of(content["cells"])
            outputs = objectives.build(content["loss"], partition, 1.0).outputs
            network = backbones.build(content["backbone"], outputs)
            network.load_state_dict(content["weights"])
            return cls(
                network.eval(),
                partition,
                content["backbone"],
                content["image_size"],
                content["loss"],
                content["decoding"],
                Calibration(**content["calibration"]),
                content["about"],
            ).tried()
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except Exception:  # what is in the file may break anything
            raise InputError(f"{path} is damaged; train it again, or `dvc pull` it") from None

    def tried(self) -> Self:
        """Itself, once it has answered: what is damaged shows then, not at the first photo.

        Raises:
            Exception: of any kind.
        """
        scores = self.scores(np.zeros((self.image_size, self.image_size, 3), np.uint8))
        if len(scores) != len(self.partition.tokens):
            raise ValueError(f"{len(scores)} scores for {len(self.partition.tokens)} classes")
        self._answers(self._log_p([scores]))
        return self

    @property
    def learned(self) -> str:
        """What it learned from, in words that belong beside its answers; "" if it does not say."""
        photos = self.about.get("trained_on")
        if not photos:
            return ""
        drawn = (
            " They are drawn, some with nothing that shows a place; of real ones it knows nothing."
        )
        return f"it learned from {photos}.{drawn if 'simulated' in photos else ''}"

    def save(self, path: Path) -> None:
        """Write everything that `load` needs into one file."""
        from nogps.model import backbones

        weights = self.network.state_dict()
        backbones.write_torch(path, {**self.description(), "weights": weights})

    def description(self) -> dict:
        """All but the weights, as JSON can hold it."""
        return {
            "format": FORMAT,
            "backbone": self.backbone,
            "image_size": self.image_size,
            "loss": self.loss,
            "decoding": self.decoding,
            "calibration": asdict(self.calibration),
            "about": dict(self.about),
            "cells": {
                each.name: getattr(self.partition, each.name).tolist()
                for each in fields(self.partition)
            },
        }

    @overload
    def locate(self, photos: Photo) -> Guess: ...
    @overload
    def locate(self, photos: Sequence[Photo], together: Literal[False] = False) -> list[Guess]: ...
    @overload
    def locate(self, photos: Sequence[Photo], together: Literal[True]) -> Guess: ...

    def locate(self, photos, together=False):
        """Where a photo was taken, by its pixels alone.

        A photo is a path, a file's bytes, a Pillow image, or a uint8 array (height, width, 3). Of
        a list, the guesses; with `together`, the one guess for photos that show one place. A file
        is answered to the last bit as `eval` does on the same processor.

        Raises:
            images.BadImage: one of them is no picture that can be read.
            OSError: a path cannot be opened.
        """
        if not isinstance(photos, Iterable) or isinstance(photos, str | bytes | np.ndarray):
            return self.guess([self.scores(self.square(photos))])
        scores, guesses = [], []
        for found in self.scores_each(photos):
            if isinstance(found, Exception):
                raise found
            scores.append(found)
            if not together and len(scores) == AT_ONCE:
                guesses += self.guesses(self._answers(self._log_p(scores)))
                scores = []
        if not together:
            return guesses + (self.guesses(self._answers(self._log_p(scores))) if scores else [])
        if not scores:
            raise InputError("there is no photo to locate; give at least one")
        return self.guess(scores)

    def scores_each(self, photos: Iterable[Photo]) -> Iterator[Floats | BadImage | OSError]:
        """What `guess` takes of each photo, in order; of one that cannot be read, the error.

        Photos are decoded ahead, on all cores.
        """
        for found in ahead(self.square, photos):
            yield found if isinstance(found, Exception) else self.scores(found)

    def square(self, photo: Photo) -> NDArray[np.uint8]:
        """A photo as the network sees it, shape (image_size, image_size, 3)."""
        jpeg = images.packed_jpeg(photo, images.pack_side(self.image_size))
        pixels = tensors.whole(tensors.to_tensor(jpeg), self.image_size)
        return pixels.permute(1, 2, 0).numpy()

    def scores(self, square: NDArray[np.uint8]) -> Floats:
        """Logits of the classes, shape (classes,), of a photo as the network sees it."""
        import torch

        # As batches lie in memory, and one by one as `measure` asks: the same bits come out.
        batch = torch.from_numpy(square)[None].permute(0, 3, 1, 2)
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            outputs = self.network(tensors.normalise(batch.to(device)))
        return _class_scores(_objective(self.loss, self.partition), outputs.float())[0]

    def predict(self, photos: Photos, batch_size: int, workers: int) -> Tensor:
        """The network's outputs for packed photos, shape (n, outputs), on a GPU if there is one.

        On a CPU one by one, so that an answer is the same to the last bit whatever else is asked;
        a GPU, whose bits are others anyway, would idle.
        """
        import torch

        from nogps.model.batches import predict

        if not torch.cuda.is_available():
            return predict(self.network, photos, 1, workers)
        device = torch.device("cuda", torch.cuda.current_device())
        return predict(self.network.to(device), photos, batch_size, workers)

    def guess(self, scores: Sequence[Floats]) -> Guess:
        """Where a photo was taken, by its `scores`; or several photos, of one place."""
        together = ["one place"] * len(scores) if len(scores) > 1 else None
        return self.guesses(self._answers(self._log_p(scores), together), 1)[0]

    def answers(self, outputs: Tensor, together: Sequence[str] | None = None) -> Answers:
        """Where photos are, by the network's outputs, shape (n, outputs).

        `together` names the place of each photo: those of one name are answered as one.
        """
        return self._answers(self._log_probabilities(outputs), together)

    def _log_p(self, scores: Sequence[Floats]) -> Floats:
        return log_softmax(np.stack(scores) / self.calibration.temperature, axis=1)

    def _answers(self, log_p: Floats, together: Sequence[str] | None = None) -> Answers:
        fitted = self.calibration
        reach, factors = fitted.reach, (fitted.radius_50, fitted.radius_90)
        if together is not None:
            log_p = fuse(log_p, together, fitted.together)
            reach = fitted.together_reach
            factors = fitted.together_radius_50, fitted.together_radius_90
        p = np.exp(log_p, out=log_p)
        latitude, longitude = place(p, self.partition, self.decoding, reach)
        half, most = radii(p, self.partition, latitude, longitude, (0.5, 0.9))
        label = p.argmax(axis=1)
        return Answers(
            p,
            latitude,
            longitude,
            label,
            p[np.arange(len(p)), label],
            half * factors[0],
            np.maximum(half * factors[0], most * factors[1]),
        )

    def guesses(self, answers: Answers, n: int | None = None) -> list[Guess]:
        """The first n answers, or all, one by one."""
        n = len(answers.label) if n is None else n
        best = np.argsort(-answers.probabilities[:n], axis=1, kind="stable")[:, :BEST]
        latitude, longitude = (axis[best] for axis in self.partition.points())
        named = towns.nearest_town(
            np.column_stack([answers.latitude[:n], latitude]).ravel(),
            np.column_stack([answers.longitude[:n], longitude]).ravel(),
        )
        named = np.array(list(map(str, named)), dtype=object).reshape(n, -1)
        tokens = self.partition.tokens[best]
        probability = np.take_along_axis(answers.probabilities[:n], best, axis=1)
        return [
            Guess(
                float(answers.latitude[each]),
                float(answers.longitude[each]),
                float(answers.radius_50_km[each]),
                float(answers.radius_90_km[each]),
                named[each, 0],
                tuple(
                    map(
                        Cell,
                        tokens[each].tolist(),
                        probability[each].tolist(),
                        latitude[each].tolist(),
                        longitude[each].tolist(),
                        named[each, 1:],
                    )
                ),
            )
            for each in range(n)
        ]

    def _log_probabilities(self, outputs: Tensor) -> Floats:
        objective = _objective(self.loss, self.partition)
        return log_probabilities(objective, outputs, self.calibration.temperature)

    def calibrated(
        self,
        outputs: Tensor,
        latitude: Floats,
        longitude: Floats,
        together: Sequence[str],
        fixed: Mapping[str, float] | None = None,
    ) -> Locator:
        """This locator, calibrated on photos that it did not learn from: the validation fold's.

        `outputs` are the network's, shape (n, outputs); `together` names each photo's place. The
        temperature and the power of photos together minimise the loss of the right class, the
        kernel's reaches maximise the hits within the protocol's radii, and the circles come to
        hold their share of the truths: of those of half of the places when all else is fitted to
        the other half, and the other way round. `fixed` gives some of the values but the radii.
        """
        together = np.asarray(together, dtype=object)
        truth = np.stack([latitude, longitude])
        half = np.isin(together, np.unique(together)[::2])
        halves = [(half, ~half), (~half, half)] if not half.all() else [(half, half)]
        alone, fused = [], []
        for known, asked in halves:
            located = self._fitted(outputs[known], truth[:, known], together[known], fixed)
            alone.append(_off(located.answers(outputs[asked]), *truth[:, asked]))
            answers = located.answers(outputs[asked], together[asked])
            fused.append(_off(answers, *truth[:, asked]))
        located = self._fitted(outputs, truth, together, fixed)
        names = [f"{of}radius_{share}" for of in ("", "together_") for share in (50, 90)]
        shares = 2 * (0.5, 0.9)
        off = np.concatenate([np.concatenate(alone, axis=1), np.concatenate(fused, axis=1)])
        factors = {
            name: float(np.quantile(each, share))
            for name, share, each in zip(names, shares, off, strict=True)
        }
        return replace(located, calibration=replace(located.calibration, **factors))

    def _fitted(
        self,
        outputs: Tensor,
        truth: Floats,
        together: NDArray[np.object_],
        fixed: Mapping[str, float] | None,
    ) -> Locator:
        """All but the factors of the radii, which are 1."""
        label = np.asarray(self.partition.assign(*truth))
        inside = np.flatnonzero(label >= 0)
        fitted, fixed = Calibration(), fixed or {}
        log_p = replace(self, calibration=fitted)._log_probabilities(outputs)
        if len(inside):
            fitted = replace(fitted, temperature=_temperature(log_p[inside], label[inside]))
            fitted = replace(fitted, **fixed)
            log_p = replace(self, calibration=fitted)._log_probabilities(outputs)
            fitted = replace(fitted, together=_power(log_p, label, inside, together))
            fitted = replace(fitted, **fixed)
        fused = fuse(log_p, together, fitted.together)
        reaches = _reaches([np.exp(log_p), np.exp(fused)], self.partition, *truth)
        fitted = replace(fitted, reach=reaches[0], together_reach=reaches[1])
        return replace(self, calibration=replace(fitted, **fixed))


def ahead(function: Callable, photos: Iterable[Photo]) -> Iterator:
    """What a function makes of each photo, in order, or why it cannot be read; on all cores."""
    photos = iter(photos)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        waiting = deque(pool.submit(function, each) for each in islice(photos, AHEAD))
        while waiting:
            first = waiting.popleft()
            error = first.exception()
            if isinstance(error, MemoryError):
                error = BadImage("larger than the memory at hand")
            if error and not isinstance(error, BadImage | OSError):
                raise error
            yield error or first.result()
            waiting.extend(pool.submit(function, each) for each in islice(photos, 1))


def partition_of(cells: Mapping[str, list]) -> Partition:
    """The classes as `Locator.description` holds them."""
    return Partition(**{name: np.array(values) for name, values in cells.items()})


@lru_cache(maxsize=1)
def _objective(loss: str, partition: Partition) -> Softmax:
    from nogps.model import objectives

    return objectives.build(loss, partition, 1.0)


def log_probabilities(objective: Softmax, outputs: Tensor, temperature: float) -> Floats:
    """Of the classes, shape (n, classes), for the network's outputs, shape (n, outputs)."""
    found = _class_scores(objective, outputs)
    for chunk in _chunks(*found.shape):
        found[chunk] = log_softmax(found[chunk] / temperature, axis=1)
    return found


def _class_scores(objective: Softmax, outputs: Tensor) -> Floats:
    """Logits of the classes, shape (n, classes), for the network's outputs, shape (n, outputs)."""
    objective = objective.cpu()
    found = np.empty((len(outputs), len(objective.partition)))
    for chunk in _chunks(len(outputs), objective.outputs):
        found[chunk] = objective.scores(outputs[chunk].cpu().double()).numpy()
    return found
