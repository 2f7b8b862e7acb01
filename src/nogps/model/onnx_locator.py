"""A Locator that runs in ONNX Runtime, without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nogps.base.errors import InputError
from nogps.model.base_locator import FORMAT, BaseLocator, ahead
from nogps.model.guess import Floats
from nogps.photos import images
from nogps.photos.images import BadImage, Photo

if TYPE_CHECKING:
    import onnxruntime
    from torch import Tensor

    from nogps.model.batches import Photos


@dataclass(frozen=True)
class OnnxLocator(BaseLocator):
    """A locator whose network runs in ONNX Runtime; its outputs are the scores of the classes."""

    network: onnxruntime.InferenceSession
    file: bytes = field(default=b"", repr=False)

    @classmethod
    def load(cls, path: str | Path) -> OnnxLocator:
        """Read a file that `export` wrote; InputError if it is anything else."""
        if not Path(path).is_file():
            raise InputError(f"{path} is not there; `nogps export` writes one")
        file = Path(path).read_bytes()
        session = _session(file, path)
        described = session.get_modelmeta().custom_metadata_map
        try:
            content = {name: json.loads(value) for name, value in described.items()}
            if content["format"] != FORMAT:
                raise InputError(f"{path} was made by another version of nogps; export it again")
            return cls.restored(session, content, file=file)
        except InputError:
            raise
        except Exception:  # what is in the file may break anything
            raise InputError(f"{path} is no nogps model; `nogps export` writes one") from None

    def square(self, photo: Photo) -> NDArray[np.uint8]:
        """A photo as the network sees it, shape (image_size, image_size, 3)."""
        return images.square(photo, self.image_size)

    def scores(self, square: NDArray[np.uint8]) -> Floats:
        """Logits of the classes, shape (classes,), of a photo as the network sees it."""
        return _run(self.network, square)

    def predict(self, photos: Photos, batch_size: int) -> Tensor:
        """The scores of packed photos, shape (n, classes), one by one."""
        import torch

        from nogps.model.batches import of_each

        def seen(pixels: Tensor) -> Tensor:
            return torch.from_numpy(self.scores(pixels[0].permute(1, 2, 0).numpy())[None])

        return of_each(photos, seen, 1, "predict")

    def scores_each(self, photos: Iterable[Photo]) -> Iterator[Floats | BadImage | OSError]:
        """As every locator does; each core looks at a photo of its own."""
        session = self._one_thread  # made here, not by each of the cores
        yield from ahead(lambda photo: _run(session, self.square(photo)), photos)

    @cached_property
    def _one_thread(self) -> onnxruntime.InferenceSession:
        return _session(self.file, "the model", threads=1)


def _session(file: bytes, path: str | Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """The model in ONNX Runtime, on so many threads, or on all cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: it warns of what it cannot improve
    options.intra_op_num_threads = threads
    # Its threads would keep the cores busy between calls, which decode and reckon meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(file, options)
    except Exception as error:  # onnxruntime raises kinds of its own
        kind = type(error).__name__
        raise InputError(f"{path} is no ONNX model ({kind}); `nogps export` writes one") from None


def _run(session: onnxruntime.InferenceSession, square: NDArray[np.uint8]) -> Floats:
    [found] = session.run(["scores"], {"pixels": square[None]})
    return found[0].astype(np.float64)
