"""Models as ONNX, which phones, browsers and servers run without torch: writing and asking them.

The graph takes `pixels`, uint8 of shape (n, image_size, image_size, 3), whole upright photos
squeezed to a square; normalising them is part of it. It gives `scores`, the logits of the classes,
float32 of shape (n, classes), still to be divided by the temperature. The file's metadata holds the
rest of the model, each value as JSON.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nogps.base.files import replacing
from nogps.model import tensors
from nogps.model.locator import Locator
from nogps.model.onnx_locator import OnnxLocator
from nogps.photos import images

WEIGHTED = ("Conv", "Gemm", "MatMul")
BLOCK = 32  # weights that share a scale
FLOAT16_SHARE = 0.1  # of all weights, those that suffer most from 8 bits
LARGEST_FLOAT16 = 60_000  # that it holds
SMALLEST = 8192  # values; smaller weights stay as they are, since 8 bits would gain little there
OPSET = 18
PREPROCESSING = {
    "orientation": "upright, as EXIF says",
    "transparent": "over white",
    "resize": "shorter side to pack_side (bicubic), JPEG, then the whole squeezed to a square "
    "(antialiased bilinear)",
    "input": "uint8, RGB, (n, image_size, image_size, 3)",
    "normalise": "within the graph: (pixel / 255 - mean) / std",
    "mean": tensors.MEAN,
    "std": tensors.STD,
}


def export(locator: Locator, path: Path, small: bool = False) -> None:
    """Write a model as ONNX; `small` keeps its weights in 8 bits, a quarter of the size."""
    written = _traced(locator)
    if small:
        _quantise(written.graph)
    described = locator.description() | {
        "preprocessing": PREPROCESSING | {"pack_side": images.pack_side(locator.image_size)},
        "temperature": locator.calibration.temperature,
        "licence": locator.about.get("licence", ""),
        "model_licence": locator.about.get("model_licence", ""),
    }
    del described["loss"]  # whatever it was, the graph's scores are those of the classes
    helper.set_model_props(written, {name: json.dumps(value) for name, value in described.items()})
    with replacing(path) as temporary:
        temporary.write_bytes(written.SerializeToString())


@dataclass(frozen=True)
class Parity:
    """How alike an exported model answers."""

    photos: int
    same_top_cell: int
    same_place: int
    largest_difference: float  # of a score


def compare(locator: Locator, exported: OnnxLocator, squares: Iterable[NDArray]) -> Parity:
    """Ask both the same pixels, as `Locator.square` gives them."""
    found = []
    for square in squares:
        both = locator.scores(square), exported.scores(square)
        one, other = locator.guess(both[:1]), exported.guess(both[1:])
        same_place = (one.latitude, one.longitude) == (other.latitude, other.longitude)
        found.append((one.cell == other.cell, same_place, float(np.abs(both[0] - both[1]).max())))
    same_cell, same_places, differences = zip(*found, strict=True)
    return Parity(len(found), sum(same_cell), sum(same_places), max(differences))


class _Graph(torch.nn.Module):
    """From uint8 pixels (n, image_size, image_size, 3) to scores of the classes (n, classes)."""

    def __init__(self, locator: Locator):
        super().__init__()
        self.network = locator.network
        self.head = locator.head

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.network(tensors.normalise(pixels.permute(0, 3, 1, 2))))


def _traced(locator: Locator) -> onnx.ModelProto:
    side = locator.image_size
    pixels = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    graph = _Graph(locator).eval()
    graph(pixels)  # `tensors` keeps its constants, which must not be first made by the tracer
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
    assert program is not None  # it is, with dynamo
    model = onnx.load_from_string(program.model_proto.SerializeToString())
    for group in (model.graph.node, model.graph.input, model.graph.output, model.graph.value_info):
        for each in group:
            del each.metadata_props[:]  # the exporter's notes, with paths of this machine
    return model


def _quantise(graph: onnx.GraphProto) -> None:
    """Keep large weights as int8, in blocks of BLOCK inputs that have a scale of their own.

    Layers that narrow, to which answers are the most sensitive, are kept as float16 instead, the
    smallest first, up to a share FLOAT16_SHARE of all weights. All are multiplied out by nodes of
    the graph whose inputs are constants: runtimes do that once, as they load, so that answers take
    no longer.
    """
    large = _large_weights(graph)
    left = FLOAT16_SHARE * sum(rows.size for rows, _ in large.values())
    unpack = []
    for name, (rows, by_columns) in sorted(large.items(), key=lambda item: item[1][0].size):
        narrows = rows.shape[0] < rows.shape[1] and np.abs(rows).max() < LARGEST_FLOAT16
        if narrows and rows.size <= left:
            left -= rows.size
            parts, nodes = {"half": rows.astype(np.float16)}, [("Cast", ["half"], "rows")]
        else:
            parts, nodes = _blocks(rows)
        weight = next(each for each in graph.initializer if each.name == name)
        shape = [*weight.dims]
        nodes += [("Transpose", ["rows"], "turned")] if by_columns else []
        nodes += [("Reshape", ["turned" if by_columns else "rows", "shape"], "")]
        parts["shape"] = np.array(shape)
        graph.initializer.remove(weight)
        graph.initializer.extend(
            numpy_helper.from_array(values, f"{name}.{part}") for part, values in parts.items()
        )
        for kind, inputs, output in nodes:
            named = [f"{name}.{part}" for part in inputs]
            to: dict[str, Any] = {"to": onnx.TensorProto.FLOAT} if kind == "Cast" else {}
            made = f"{name}.{output}" if output else name
            unpack.append(helper.make_node(kind, named, [made], **to))
    for node in reversed(unpack):
        graph.node.insert(0, node)


def _large_weights(graph: onnx.GraphProto) -> dict[str, tuple[NDArray[np.float32], bool]]:
    """By name: large weights as (outputs, inputs), and whether the graph has them transposed."""
    values = {each.name: each for each in graph.initializer if each.data_type == each.FLOAT}
    found = {}
    for node in graph.node:
        if node.op_type not in WEIGHTED or node.input[1] not in values:
            continue
        weight = numpy_helper.to_array(values[node.input[1]])
        if weight.size < SMALLEST or (node.op_type == "MatMul" and weight.ndim != 2):
            continue
        turned = any(each.name == "transB" and each.i for each in node.attribute)
        by_rows = node.op_type == "Conv" or turned
        rows = weight.reshape(len(weight), -1)
        found[node.input[1]] = (rows if by_rows else rows.T, not by_rows)
    return found


def _blocks(rows: NDArray[np.float32]) -> tuple[dict[str, NDArray], list[tuple]]:
    """Rows as int8 with a scale a block, and the nodes that multiply them out again."""
    inputs = rows.shape[1]
    blocks = rows.reshape(len(rows), -1, BLOCK if inputs % BLOCK == 0 else inputs)
    exact = np.abs(blocks).max(axis=2, keepdims=True) / 127
    kind = np.float16 if exact.max() < LARGEST_FLOAT16 else np.float32
    scale = np.maximum(exact.astype(kind), np.finfo(kind).smallest_subnormal)
    scale = np.where(scale < exact, np.nextafter(scale, kind(np.inf)), scale)
    whole = np.round(blocks / scale.astype(np.float32)).astype(np.int8)
    parts = {"int8": whole, "scale": scale, "rows_shape": np.array(rows.shape)}
    return parts, [
        ("Cast", ["int8"], "whole"),
        ("Cast", ["scale"], "step"),
        ("Mul", ["whole", "step"], "blocks"),
        ("Reshape", ["blocks", "rows_shape"], "rows"),
    ]
