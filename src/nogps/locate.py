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
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import log_softmax

from nogps import geo, images, places
from nogps.errors import InputError
from nogps.geo import EARTH_RADIUS_KM
from nogps.images import BadImage, Photo
from nogps.partition import Partition

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nogps.dataset import Photos
    from nogps.losses import Softmax

FORMAT = 3  # of the model file
DECODINGS = ("densest", "class_mean", "class_centre")
DISC = 16  # places that stand for the spread of a class
REACHES = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4)  # those that `calibrated` tries
POWERS = np.linspace(0, 1, 21)
BEST = 5  # cells that a guess names
AHEAD = 16  # photos decoded before their turn
AT_ONCE = 256  # photos whose probabilities are held at the same time

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """What is fitted on the validation fold."""

    temperature: float = 1.0  # scores are divided by it
    together: float = 0.0  # 0: k photos of one place count as one; 1: as k that know nothing alike
    reach: float = 1.0  # the radii of the kernel, as a share of the protocol's
    together_reach: float = 1.0  # the same for photos of one place answered as one
    radius_50: float = 1.0  # factors that make the radii hold what they say
    radius_90: float = 1.0
    together_radius_50: float = 1.0
    together_radius_90: float = 1.0


@dataclass(frozen=True)
class Answers:
    """Where a model puts n photos; angles are degrees."""

    probabilities: Floats  # (n, classes)
    latitude: Floats  # (n,)
    longitude: Floats
    label: NDArray[np.int64]  # the most probable class
    confidence: Floats  # its probability
    radius_50_km: Floats  # circles round the answer that hold half and nine tenths
    radius_90_km: Floats


@dataclass(frozen=True)
class Cell:
    """A class, and how probable it is that the photo was taken there."""

    token: str  # of S2
    probability: float  # 0 to 1
    latitude: float  # degrees, of the point that stands for it
    longitude: float
    place: str  # the nearest town, as "Lisbon, Portugal"


@dataclass(frozen=True)
class Guess:
    """Where the model puts a photo; angles are degrees."""

    latitude: float
    longitude: float
    radius_50_km: float  # the circle round it that holds the truth in half of the cases
    radius_90_km: float  # and in nine of ten
    place: str  # the nearest town of at least 15,000 people, as "Lisbon, Portugal"
    cells: tuple[Cell, ...]  # the most probable, best first

    @property
    def confidence(self) -> float:
        """Probability of the most probable cell, 0 to 1."""
        return self.cells[0].probability

    @property
    def cell(self) -> str:
        """S2 token of that cell."""
        return self.cells[0].token

    @property
    def sureness(self) -> str:
        """How sure the model is, in a sentence."""
        likely, perhaps = (_area(each) for each in (self.radius_90_km, self.radius_50_km))
        said = [f"likely the right {likely}"] if likely else []
        if perhaps and perhaps != likely:
            said.append(f"perhaps the right {perhaps}")
        said = ", ".join(said) or "it does not know"
        return (
            f"{said[0].upper()}{said[1:]}: half of such guesses are within "
            f"{_km(self.radius_50_km)} km, nine of ten within {_km(self.radius_90_km)} km."
        )

    def to_dict(self) -> dict:
        """The guess as JSON holds it."""
        return asdict(self)

    def to_geojson(self) -> dict:
        """A GeoJSON Feature (RFC 7946): the point, with all else as its properties."""
        properties = self.to_dict()
        position = [properties.pop("longitude"), properties.pop("latitude")]
        return {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": position},
            "properties": properties,
        }


@dataclass(frozen=True)
class Locator:
    """A network, its classes, its preprocessing, and what turns its scores into places."""

    network: nn.Module
    partition: Partition
    backbone: str
    image_size: int
    loss: str = "softmax"
    decoding: str = "densest"  # of DECODINGS
    calibration: Calibration = Calibration()
    about: Mapping[str, str] = field(default_factory=dict)  # trained_on, licence, model_licence

    def __post_init__(self) -> None:
        if self.decoding not in DECODINGS or not isinstance(self.image_size, int):
            raise ValueError(f"decoding {self.decoding!r}, image_size {self.image_size!r}")

    @classmethod
    def load(cls, path: str | Path) -> Locator:
        """Read a file that `save` wrote; InputError if it is anything else."""
        import torch

        from nogps import losses, model

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
            outputs = losses.build(content["loss"], partition, 1.0).outputs
            network = model.build(content["backbone"], outputs)
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
        from nogps import model

        weights = self.network.state_dict()
        model.write_torch(path, {**self.description(), "weights": weights})

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
        pixels = images.whole(images.to_tensor(jpeg), self.image_size)
        return pixels.permute(1, 2, 0).numpy()

    def scores(self, square: NDArray[np.uint8]) -> Floats:
        """Logits of the classes, shape (classes,), of a photo as the network sees it."""
        import torch

        # As batches lie in memory, and one by one as `measure` asks: the same bits come out.
        batch = torch.from_numpy(square)[None].permute(0, 3, 1, 2)
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            outputs = self.network(images.normalise(batch.to(device)))
        return _class_scores(_objective(self.loss, self.partition), outputs.float())[0]

    def predict(self, photos: Photos, batch_size: int, workers: int) -> Tensor:
        """The network's outputs for packed photos, shape (n, outputs), on a GPU if there is one.

        On a CPU one by one, so that an answer is the same to the last bit whatever else is asked;
        a GPU, whose bits are others anyway, would idle.
        """
        import torch

        from nogps.dataset import predict

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
        named = places.nearest_town(
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


def _area(radius_km: float) -> str:
    """The smallest kind of area that the protocol knows and that reaches so far; "" if none."""
    reached = [name for name, radius in geo.RADII_KM.items() if radius_km <= radius]
    return reached[0].split("_")[0] if reached else ""


def _km(distance: float) -> str:
    return f"{distance:,.0f}" if distance >= 10 else f"{max(distance, 1):.1f}"


@lru_cache(maxsize=1)
def _objective(loss: str, partition: Partition) -> Softmax:
    from nogps import losses

    return losses.build(loss, partition, 1.0)


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


def places_of(owner: Sequence[str]) -> list[str]:
    """For `together`: photos of one owner are of one place, one without an owner is alone."""
    return [each or f"photo {number}" for number, each in enumerate(owner)]


def fuse(log_p: Floats, together: Sequence[str], power: float) -> Floats:
    """Log probabilities (n, classes) where each photo has those of its whole place.

    Views of a place mostly err alike, so that k of them count as k ** `power`.
    """
    number, _ = pd.factorize(np.asarray(together, dtype=object))
    count = np.bincount(number)
    here = np.arange(len(number))
    mean = csr_array((1 / count[number], (number, here)), (len(count), len(number))) @ log_p
    return log_softmax(mean * count[:, None] ** power, axis=1)[number]


def place(p: Floats, partition: Partition, decoding: str, reach: float) -> tuple[Floats, Floats]:
    """The point, latitudes and longitudes (n,), for probabilities of shape (n, classes).

    `class_centre` and `class_mean` are the centre of the most probable cell, and the spherical
    mean of its photos. `densest` is the class point that gathers the most probability around it,
    as `kernel` counts it.
    """
    best = p.argmax(axis=1)
    latitude, longitude = points(partition, decoding)
    if decoding == "densest":
        gathers = _between_classes(partition, reach)
        for chunk in _chunks(len(p), len(partition)):
            best[chunk] = (p[chunk] @ gathers).argmax(axis=1)
    return latitude[best], longitude[best]


def points(partition: Partition, decoding: str) -> tuple[Floats, Floats]:
    """The points that a model may answer with, latitudes and longitudes, one a class."""
    if decoding == "class_centre":
        return partition.centre_latitude, partition.centre_longitude
    return partition.points()


@lru_cache(maxsize=2)  # a model has one for photos alone and one for those of a place together
def _between_classes(partition: Partition, reach: float) -> Floats:
    """The kernel from each class to each, shape (classes, classes): 8 bytes for each pair."""
    latitude, longitude = partition.points()
    found = np.empty((len(partition), len(partition)))
    for chunk in _chunks(len(partition), 8 * len(partition)):
        there = latitude[chunk, None], longitude[chunk, None]
        found[chunk] = kernel(geo.distance_km(*there, latitude, longitude), reach)
    return found


def _chunks(n: int, wide: int) -> Iterator[slice]:
    """Parts of n rows that are so wide, 32 MB of float64 each: so memory stays bounded."""
    step = max(1, 4_000_000 // wide)
    for start in range(0, n, step):
        yield slice(start, start + step)


def kernel(distance_km: Floats, reach: float) -> Floats:
    """How much a truth at a distance is worth: the hits it makes, of 1, with softened edges.

    The mean over the protocol's radii, each times `reach`, of 1 / (1 + (distance / radius) ** 4).
    Where probability is dense the small radii decide, where it is thin the large ones.
    """
    total = np.zeros_like(distance_km)
    for radius in geo.RADII_KM.values():
        squared = np.square(distance_km / (reach * radius))
        total += 1 / (1 + squared * squared)
    return total / len(geo.RADII_KM)


def density(
    p: Floats, partition: Partition, latitude: ArrayLike, longitude: ArrayLike
) -> NDArray[np.float64]:
    """Probability per square km at m positions, for probabilities (n, classes): shape (n, m).

    Each class is a von Mises-Fisher distribution round its point, as wide as its cell.
    """
    there = geo.to_unit_vectors(np.atleast_1d(latitude), np.atleast_1d(longitude))
    cosine = geo.to_unit_vectors(*partition.points()) @ there.T
    kappa = _kappa(partition)[:, None]
    peak = kappa / (2 * np.pi * -np.expm1(-2 * kappa) * EARTH_RADIUS_KM**2)
    return p @ (peak * np.exp(kappa * (cosine - 1)))


def radii(
    p: Floats, partition: Partition, latitude: Floats, longitude: Floats, shares: Sequence[float]
) -> list[Floats]:
    """For each share, the radius (n,) in km round positions (n,) that holds it of the density."""
    centre = geo.to_unit_vectors(latitude, longitude)
    sample = _sample(partition).reshape(-1, 3)
    found = []
    for chunk in _chunks(len(p), len(sample)):
        # Not as a product of matrices, whose last bits depend on how many photos there are.
        cosine = sum(centre[chunk, axis, None] * sample[:, axis] for axis in range(3))
        angle = np.arccos(np.clip(cosine, -1, 1))
        order = np.argsort(angle, axis=1)
        mass = np.repeat(p[chunk] / DISC, DISC, axis=1)
        held = np.take_along_axis(mass, order, axis=1).cumsum(axis=1)
        angle = np.take_along_axis(angle, order, axis=1)
        last = angle.shape[1] - 1
        reached = [np.minimum((held < share).sum(axis=1), last) for share in shares]
        found.append([angle[np.arange(len(angle)), each] for each in reached])
    return [EARTH_RADIUS_KM * np.concatenate(parts) for parts in zip(*found, strict=True)]


def _temperature(log_p: Floats, label: NDArray[np.int64]) -> float:
    from scipy.optimize import minimize_scalar  # here: who only locates does not wait for it

    def loss(log_t: float) -> float:
        return _loss(log_p / np.exp(log_t), label)

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))


def _power(log_p: Floats, label: NDArray[np.int64], inside: NDArray, together) -> float:
    if len(set(together)) == len(together):
        return 0.0  # nothing to fit it on
    tried = [_loss(fuse(log_p, together, power)[inside], label[inside]) for power in POWERS]
    return float(POWERS[np.argmin(tried)])


def _loss(log_p: Floats, label: NDArray[np.int64]) -> float:
    normal = log_p - np.logaddexp.reduce(log_p, axis=1, keepdims=True)
    return float(-normal[np.arange(len(label)), label].mean())


def _reaches(
    each: list[Floats], partition: Partition, latitude: Floats, longitude: Floats
) -> list[float]:
    """The best of REACHES for each of several probabilities (n, classes) of photos there."""

    def hits(p: Floats, reach: float) -> float:
        there = place(p, partition, "densest", reach)
        distance = geo.distance_km(latitude, longitude, *there)
        return float(np.mean([distance <= radius for radius in geo.RADII_KM.values()]))

    table = [[hits(p, reach) for p in each] for reach in REACHES]
    return [REACHES[best] for best in np.argmax(table, axis=0)]


def _off(answers: Answers, latitude: Floats, longitude: Floats) -> Floats:
    """How far truths are from the answers, as shares of the two radii: shape (2, n)."""
    distance = geo.distance_km(latitude, longitude, answers.latitude, answers.longitude)
    return distance / np.stack([answers.radius_50_km, answers.radius_90_km])


def _kappa(partition: Partition) -> Floats:
    """Concentration of each class: the variance of a uniform disc as large as its cell."""
    # Narrower than 10 m there is only rounding noise.
    return (2 * EARTH_RADIUS_KM / np.maximum(partition.spread_km(), 0.01)) ** 2


@lru_cache(maxsize=1)
def _sample(partition: Partition) -> Floats:
    """Unit vectors (classes, DISC, 3), evenly spread over each class's distribution."""
    mean = geo.to_unit_vectors(*partition.points())
    east = np.cross([0.0, 0.0, 1.0], mean)
    polar = np.linalg.norm(east, axis=1) < 1e-9  # at a pole any direction is east
    east[polar] = [1.0, 0.0, 0.0]
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    north = np.cross(mean, east)
    step = np.arange(DISC) + 0.5
    kappa = _kappa(partition)[:, None]
    cosine = 1 + np.log1p(-step / DISC * -np.expm1(-2 * kappa)) / kappa
    sine = np.sqrt(np.clip(1 - cosine**2, 0, None))
    turn = step * np.pi * (3 - np.sqrt(5))  # Vogel's sunflower
    return (
        cosine[..., None] * mean[:, None]
        + (sine * np.cos(turn))[..., None] * east[:, None]
        + (sine * np.sin(turn))[..., None] * north[:, None]
    )
