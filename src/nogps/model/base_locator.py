"""What every locator is, whichever runtime its network has: from a photo to a place, in NumPy."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from nogps.base.errors import InputError
from nogps.earth import geo
from nogps.model.classes import Partition, partition_of
from nogps.model.decode import DECODINGS, Decoder
from nogps.model.guess import Answers, Calibration, Floats, Guess, Names, guesses_of
from nogps.photos.images import BadImage, Photo

if TYPE_CHECKING:
    from torch import Tensor

    from nogps.model.batches import Labelled, Photos

FORMAT = 3  # of the model file
PLAIN = ("backbone", "image_size", "loss", "decoding")  # what a model file holds as it is
AHEAD = 16  # photos decoded before their turn
AT_ONCE = 256  # photos whose probabilities are held at the same time


@dataclass(frozen=True)
class BaseLocator(ABC):
    """A network, its classes, its preprocessing, and what turns its scores into places."""

    network: Any
    partition: Partition
    backbone: str
    image_size: int  # pixels; the network sees squares of this side
    loss: str = "softmax"  # of settings.OBJECTIVES: it says what the network's outputs stand for
    decoding: str = "densest"  # of decode.DECODINGS
    calibration: Calibration = Calibration()  # noqa: RUF009  it is frozen
    about: Mapping[str, str] = field(default_factory=dict)  # trained_on, licence, model_licence

    def __post_init__(self) -> None:
        if self.decoding not in DECODINGS or not isinstance(self.image_size, int):
            raise ValueError(f"decoding {self.decoding!r}, image_size {self.image_size!r}")

    @abstractmethod
    def square(self, photo: Photo) -> NDArray[np.uint8]:
        """A photo as the network sees it, shape (image_size, image_size, 3)."""

    @abstractmethod
    def scores(self, square: NDArray[np.uint8]) -> Floats:
        """Logits of the classes, shape (classes,), of a photo as the network sees it."""

    @abstractmethod
    def predict(self, photos: Photos, batch_size: int) -> Tensor:
        """The network's outputs for packed photos, shape (n, outputs), on the CPU."""

    def class_scores(self, outputs: Tensor) -> Floats:
        """Logits of the classes, shape (n, classes), for the network's outputs (n, outputs)."""
        return np.asarray(outputs).astype(np.float64)

    @cached_property
    def decoder(self) -> Decoder:
        """What turns scores into places."""
        return Decoder(self.partition, self.decoding, self.calibration)

    @classmethod
    def restored(cls, network: Any, content: Mapping[str, Any], **more: Any) -> Self:
        """The locator of a `description`, once it has answered: damage shows then, as any error."""
        content = {"loss": "softmax", **content}  # ONNX has none: its outputs are the scores
        more |= {name: content[name] for name in (*PLAIN, "about")}
        calibration = Calibration(**content["calibration"])
        locator = cls(network, partition_of(content["cells"]), calibration=calibration, **more)
        scores = locator.scores(np.zeros((locator.image_size, locator.image_size, 3), np.uint8))
        if len(scores) != len(locator.partition):
            raise ValueError(f"{len(scores)} scores for {len(locator.partition)} classes")
        locator.decoder.answers(scores[None].copy())
        return locator

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

    def description(self) -> dict:
        """All but the weights, as JSON can hold it."""
        return {
            "format": FORMAT,
            **{name: getattr(self, name) for name in PLAIN},
            "calibration": asdict(self.calibration),
            "about": dict(self.about),
            "cells": {name: each.tolist() for name, each in asdict(self.partition).items()},
        }

    @overload
    def locate(self, photos: Photo) -> Guess: ...  # type: ignore[overload-overlap]
    @overload
    def locate(self, photos: Sequence[Photo], together: Literal[False] = False) -> list[Guess]: ...
    @overload
    def locate(self, photos: Sequence[Photo], together: Literal[True]) -> Guess: ...

    def locate(self, photos, together=False):
        """Where a photo was taken, by its pixels alone.

        A photo is a path, a file's bytes, a Pillow image, or a uint8 array (height, width, 3). Of
        a list, the guesses; with `together`, the one guess for photos that show one place. A file
        is answered to the last bit as `eval` does on the same processor. BadImage: one of them is
        no picture that can be read. OSError: a path cannot be opened.
        """
        if not isinstance(photos, Iterable) or isinstance(photos, str | bytes | np.ndarray):
            return self.guess([self.scores(self.square(photos))])
        found = self._scores_or_raise(photos)
        if together:
            scores = list(found)
            if not scores:
                raise InputError("there is no photo to locate; give at least one")
            return self.guess(scores)
        guesses: list[Guess] = []
        while scores := list(islice(found, AT_ONCE)):
            guesses += self.guesses(self.decoder.answers(np.stack(scores)))
        return guesses

    def _scores_or_raise(self, photos: Iterable[Photo]) -> Iterator[Floats]:
        for found in self.scores_each(photos):
            if isinstance(found, Exception):
                raise found
            yield found

    def scores_each(self, photos: Iterable[Photo]) -> Iterator[Floats | BadImage | OSError]:
        """What `guess` takes of each photo, in order, or why it cannot be read; decoded ahead."""
        for found in ahead(self.square, photos):
            yield found if isinstance(found, BadImage | OSError) else self.scores(found)

    def guess(self, scores: Sequence[Floats]) -> Guess:
        """Where a photo was taken, by its `scores`; or several photos, of one place."""
        together = ["one place"] * len(scores) if len(scores) > 1 else None
        return self.guesses(self.decoder.answers(np.stack(scores), together), 1)[0]

    def answers(self, outputs: Tensor, together: Names | None = None) -> Answers:
        """Where photos are, by the network's outputs, shape (n, outputs); see `Decoder.answers`."""
        return self.decoder.answers(self.class_scores(outputs), together)

    def guesses(self, answers: Answers, n: int | None = None) -> list[Guess]:
        """The first n answers, or all, one by one."""
        return guesses_of(answers, self.partition, len(answers.label) if n is None else n)

    def judge(self, outputs: Tensor, fold: Labelled) -> tuple[float, float, float]:
        """Loss and accuracy (percent) over photos in a class, mean GeoGuessr score over all.

        `outputs` are the network's for the photos of `fold`, shape (n, outputs); where none lies in
        a class, loss and accuracy are NaN.
        """
        log_p = self.decoder.log_probabilities(self.class_scores(outputs))
        label = self.partition.assign(fold.latitude, fold.longitude)
        inside = np.flatnonzero(label >= 0)
        loss = accuracy = math.nan
        if len(inside):
            loss = float(-log_p[inside, label[inside]].mean())
            accuracy = float(100 * (log_p[inside].argmax(axis=1) == label[inside]).mean())
        point = self.decoder.position(np.exp(log_p))
        distance = geo.distance_km(fold.latitude, fold.longitude, *point)
        return loss, accuracy, float(geo.geoguessr_score(distance).mean())

    def calibrated(
        self,
        outputs: Tensor,
        latitude: Floats,
        longitude: Floats,
        together: Names,
        fixed: Mapping[str, float] | None = None,
    ) -> Self:
        """This locator, calibrated on photos that it did not learn from; see `calibrate.fit`."""
        from nogps.model import calibrate  # here: who only locates does not wait for its optimiser

        scores, truth = self.class_scores(outputs), np.stack([latitude, longitude])
        fitted = calibrate.fit(self.decoder, scores, truth, together, fixed or {})
        return replace(self, calibration=fitted)


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
