"""Models as ONNX, which phones, browsers and servers run without torch: writing and asking them.

The graph takes `pixels`, uint8 of shape (n, image_size, image_size, 3), whole upright photos
squeezed to a square; normalising them is part of it. It gives `scores`, the logits of the classes,
float32 of shape (n, classes), still to be divided by the temperature. The file's metadata holds the
rest of the model, each value as JSON.

torch is imported only to write: asking takes ONNX Runtime alone.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nogps import images
from nogps.errors import InputError
from nogps.files import replacing
from nogps.images import Photo
from nogps.locate import FORMAT, Calibration, Floats, Locator, partition_of

if TYPE_CHECKING:
    import onnx

SMALLEST = 8192  # values; smaller weights stay as they are, since 8 bits would gain little there
OPSET = 18

PREPROCESSING = {
    "orientation": "upright, as EXIF says",
    "transparent": "over white",
    "resize": "shorter side to pack_side (bicubic), JPEG, then the whole squeezed to a square "
    "(antialiased bilinear)",
    "input": "uint8, RGB, (n, image_size, image_size, 3)",
    "normalise": "within the graph: (pixel / 255 - mean) / std",
    "mean": images.MEAN,
    "std": images.STD,
}


@dataclass(frozen=True)
class OnnxLocator(Locator):
    """A `Locator` whose network runs in ONNX Runtime."""

    @classmethod
    def load(cls, path: str | Path) -> OnnxLocator:
        """Read a file that `export` wrote; InputError if it is anything else."""
        import onnxruntime

        if not Path(path).is_file():
            raise InputError(f"{path} is not there; `nogps export` writes one")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors: it warns of what it cannot improve
        try:
            session = onnxruntime.InferenceSession(path, options)
        except Exception as error:  # onnxruntime raises kinds of its own
            raise InputError(f"{path} is no ONNX model ({type(error).__name__})") from None
        described = session.get_modelmeta().custom_metadata_map
        try:
            content = {name: json.loads(value) for name, value in described.items()}
            if content["format"] != FORMAT:
                raise InputError(f"{path} was made by another version of nogps; export it again")
            return cls(
                session,
                partition_of(content["cells"]),
                content["backbone"],
                content["image_size"],
                decoding=content["decoding"],
                calibration=Calibration(**content["calibration"]),
                about=content["about"],
            )
        except (KeyError, TypeError, json.JSONDecodeError):
            raise InputError(f"{path} is no nogps model; `nogps export` writes one") from None

    def square(self, photo: Photo) -> NDArray[np.uint8]:
        """A photo as the network sees it, shape (image_size, image_size, 3)."""
        return images.square(photo, self.image_size)

    def scores(self, square: NDArray[np.uint8]) -> Floats:
        """Logits of the classes, shape (classes,), of a photo as the network sees it."""
        [found] = self.network.run(["scores"], {"pixels": square[None]})
        return found[0].astype(np.float64)


def export(locator: Locator, path: Path, small: bool = False) -> None:
    """Write a model as ONNX; `small` keeps its weights in 8 bits, a quarter of the size."""
    import onnx

    written = _traced(locator)
    if small:
        _quantise(written.graph)
    described = locator.description() | {
        "preprocessing": PREPROCESSING | {"pack_side": images.pack_side(locator.image_size)},
        "temperature": locator.calibration.temperature,
        "licence": locator.about.get("licence", ""),
    }
    del described["loss"]  # whatever it was, the graph's scores are those of the classes
    onnx.helper.set_model_props(
        written, {name: json.dumps(value) for name, value in described.items()}
    )
    with replacing(path) as temporary:
        temporary.write_bytes(written.SerializeToString())


@dataclass(frozen=True)
class Parity:
    """How alike an exported model answers."""

    photos: int
    same_top_cell: int
    largest_difference: float  # of a score


def compare(locator: Locator, exported: OnnxLocator, squares: Iterable[NDArray]) -> Parity:
    """Ask both the same pixels."""
    pairs = [(locator.scores(square), exported.scores(square)) for square in squares]
    return Parity(
        len(pairs),
        sum(int(one.argmax() == other.argmax()) for one, other in pairs),
        max(float(np.abs(one - other).max()) for one, other in pairs),
    )


def _traced(locator: Locator) -> onnx.ModelProto:
    import onnx
    import torch

    from nogps import losses

    class Graph(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = locator.network
            self.objective = losses.build(locator.loss, locator.partition, 1.0)

        def forward(self, pixels):
            outputs = self.network(images.normalise(pixels.permute(0, 3, 1, 2)))
            return self.objective.scores(outputs)

    side = locator.image_size
    pixels = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    graph = Graph().eval()
    graph(pixels)  # `images` keeps its constants, which must not be first made by the tracer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter deprecates parts of itself
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            graph,
            (pixels,),
            input_names=["pixels"],
            output_names=["scores"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("n")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    buffer = io.BytesIO()
    program.save(buffer)
    model = onnx.load_from_string(buffer.getvalue())
    for group in (model.graph.node, model.graph.input, model.graph.output, model.graph.value_info):
        for each in group:
            del each.metadata_props[:]  # the exporter's notes, with paths of this machine
    return model


def _quantise(graph: onnx.GraphProto) -> None:
    """Keep large weights as int8, each output's with a scale of its own.

    They are multiplied out by nodes of the graph whose inputs are constants: runtimes do that once,
    as they load, so that answers take no longer.
    """
    from onnx import TensorProto, helper, numpy_helper

    weights = {each.name: each for each in graph.initializer}
    unpack = []
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in weights:
            continue
        weight = weights.pop(node.input[1])
        values = numpy_helper.to_array(weight)
        if values.size < SMALLEST or values.dtype != np.float32:
            continue
        by_rows = node.op_type == "Conv" or any(
            each.name == "transB" and each.i for each in node.attribute
        )
        axes = tuple(range(1, values.ndim)) if by_rows else tuple(range(values.ndim - 1))
        scale = np.maximum(np.abs(values).max(axis=axes, keepdims=True), 1e-12) / 127
        packed, cast, factor = (f"{weight.name}.{part}" for part in ("int8", "cast", "scale"))
        unpack += [
            helper.make_node("Cast", [packed], [cast], to=TensorProto.FLOAT),
            helper.make_node("Mul", [cast, factor], [weight.name]),
        ]
        graph.initializer.append(
            numpy_helper.from_array(np.round(values / scale).astype(np.int8), packed)
        )
        graph.initializer.append(numpy_helper.from_array(scale, factor))
        graph.initializer.remove(weight)
    nodes = [*unpack, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
