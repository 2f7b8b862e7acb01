import json
import resource
import tempfile
from dataclasses import asdict, replace
from itertools import cycle
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn
from torchvision.models import mobilenetv3

import nogps.model.export
from nogps.base.errors import InputError
from nogps.model import objectives
from nogps.model.base_locator import FORMAT
from nogps.model.export import OPSET, SMALLEST, compare, export
from nogps.model.locator import Locator
from nogps.model.onnx_locator import OnnxLocator
from nogps.model.settings import DECODINGS
from nogps.model.tensors import MEAN, STD
from nogps.photos import images
from tests.locators import CALIBRATION, over_the_world, same, seeing
from tests.pictures import encoded, picture

ABOUT = {"trained_on": "made-up pictures — a few", "licence": "CC BY-SA 4.0, its photographers"}
SIZE = 64


def short_mobilenet(_: str, classes: int) -> nn.Module:
    """MobileNetV3 with three of its blocks: all kinds of layers, but traced in two seconds."""
    blocks = [
        mobilenetv3.InvertedResidualConfig(*each, dilation=1, width_mult=1.0)
        for each in (
            (16, 3, 16, 16, True, "RE", 2),
            (16, 5, 96, 40, True, "HS", 2),
            (40, 5, 240, 96, True, "HS", 2),
        )
    ]
    return mobilenetv3.MobileNetV3(blocks, last_channel=1024, num_classes=classes)


@pytest.fixture(scope="module")
def locator() -> Locator:
    return seeing("short_mobilenet", short_mobilenet, calibration=CALIBRATION, about=ABOUT)


@pytest.fixture(scope="module")
def files(locator, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    found = {"full": folder / "model.onnx", "small": folder / "model.small.onnx"}
    for name, path in found.items():
        export(locator, path, small=name == "small")
    return found


@pytest.fixture(scope="module")
def squares(locator) -> list[np.ndarray]:
    return [locator.square(picture(90, 70, seed=each)) for each in range(12)]


def linear(loss="softmax", **how) -> Locator:
    """A model that is exported in a second."""
    torch.manual_seed(0)
    outputs = objectives.objective_class(loss)(over_the_world(), 75.0).head.outputs
    network = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * 8 * 8, outputs)).eval()
    network[2].weight.data *= 10
    return Locator(network, over_the_world(), "linear", SIZE, loss, **how)


@pytest.fixture(scope="module")
def little(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("little") / "model.onnx"
    export(linear(about=ABOUT), path)
    return path


def rewritten(path: Path, to: Path, **metadata) -> Path:
    """A copy with other metadata; None leaves one out."""
    content = onnx.load(path)
    known = {each.key: each.value for each in content.metadata_props} | metadata
    kept = {name: value for name, value in known.items() if value is not None}
    helper.set_model_props(content, kept)
    onnx.save(content, to)
    return to


# Answers


@pytest.mark.parametrize(("kind", "off"), [("full", 1e-3), ("small", 0.8)])
def test_scores_are_those_of_the_model(locator, files, squares, kind, off):
    """The small one's within a fifth of what tells classes apart."""
    asked = [locator.scores(each) for each in squares]
    assert len({each.argmax() for each in asked}) > 4 and np.std(asked) > 4
    exported = OnnxLocator.load(files[kind])
    for square, scores in zip(squares, asked, strict=True):
        found = exported.scores(square)
        assert found.shape == scores.shape and found.dtype == np.float64
        assert np.abs(found - scores).max() <= off
        assert found.argmax() == scores.argmax()


def test_compare_counts_what_differs(locator, files, squares):
    full, small = (OnnxLocator.load(files[kind]) for kind in ("full", "small"))
    found = compare(locator, small, iter(squares))
    off = [np.abs(locator.scores(each) - small.scores(each)).max() for each in squares]
    assert (found.photos, found.same_top_cell) == (12, 12)
    assert found.largest_difference == max(off) > 0
    assert compare(locator, full, squares).largest_difference < found.largest_difference
    other = replace(locator, network=linear().network)
    same_top = sum(other.scores(each).argmax() == full.scores(each).argmax() for each in squares)
    assert compare(other, full, squares).same_top_cell == same_top < 12


@pytest.mark.parametrize(
    ("loss", "decoding"), list(zip(objectives.OBJECTIVES, cycle(DECODINGS), strict=False))
)
def test_every_loss_and_decoding_is_answered_alike(loss, decoding, tmp_path):
    locator = linear(loss, decoding=decoding, calibration=CALIBRATION)
    export(locator, tmp_path / "model.onnx")
    exported = OnnxLocator.load(tmp_path / "model.onnx")
    assert exported.decoding == decoding
    squares = [locator.square(picture(90, 70, seed=each)) for each in range(8)]
    assert len({locator.scores(each).argmax() for each in squares}) > 3
    for square in squares:
        scores = locator.scores(square)
        assert exported.scores(square) == pytest.approx(scores, abs=1e-3)
        alike(exported.guess([exported.scores(square)]), locator.guess([scores]))


def alike(one, other) -> None:
    assert (one.latitude, one.longitude, one.place) == (
        other.latitude,
        other.longitude,
        other.place,
    )
    assert one.cell == other.cell
    assert one.confidence == pytest.approx(other.confidence, abs=1e-4)
    assert one.radius_50_km == pytest.approx(other.radius_50_km, rel=1e-3)
    assert one.radius_90_km == pytest.approx(other.radius_90_km, rel=1e-3)


def test_guesses_are_those_of_the_model(locator, files, squares):
    exported = OnnxLocator.load(files["full"])
    scores = [(locator.scores(each), exported.scores(each)) for each in squares]
    for one, other in scores:
        alike(exported.guess([other]), locator.guess([one]))
    ones, others = zip(*scores, strict=True)
    alike(exported.guess(others), locator.guess(ones))


def test_photos_are_asked_in_every_way(files, tmp_path):
    exported = OnnxLocator.load(files["full"])
    assert isinstance(exported, OnnxLocator)
    bodies = [encoded(picture(90, 70, seed=each), "PNG") for each in range(20)]
    (tmp_path / "photo.png").write_bytes(bodies[0])
    guesses = exported.locate(bodies)
    assert len(set(guesses)) == 20
    forms = [tmp_path / "photo.png", str(tmp_path / "photo.png"), picture(90, 70), bodies[0]]
    assert [exported.locate(each) for each in forms] == [guesses[0]] * 4
    square = images.square(bodies[3], SIZE)
    assert exported.guess([exported.scores(square)]) == guesses[3]
    assert exported.locate(bodies, together=True) == exported.guess(
        [exported.scores(images.square(each, SIZE)) for each in bodies]
    )


def test_batches_of_any_size_are_answered_one_by_one(files, squares):
    for path in files.values():
        session = onnxruntime.InferenceSession(path)
        alone = [session.run(["scores"], {"pixels": each[None]})[0] for each in squares[:3]]
        [three] = session.run(["scores"], {"pixels": np.stack(squares[:3])})
        assert three.shape == (3, len(over_the_world())) and three.dtype == np.float32
        assert three == pytest.approx(np.concatenate(alone), abs=1e-4)
        assert np.abs(three[0] - three[1]).max() > 0.1


# The file


def test_the_file_describes_itself(locator, files):
    for path in files.values():
        session = onnxruntime.InferenceSession(path)
        metadata = {
            name: json.loads(value)
            for name, value in session.get_modelmeta().custom_metadata_map.items()
        }
        preprocessing = metadata.pop("preprocessing")
        cells = metadata.pop("cells")
        assert metadata == {
            "format": FORMAT,
            "backbone": "short_mobilenet",
            "image_size": SIZE,
            "decoding": "densest",
            "calibration": asdict(CALIBRATION),
            "temperature": CALIBRATION.temperature,
            "licence": ABOUT["licence"],
            "model_licence": "",  # older models say none
            "about": ABOUT,
        }
        assert preprocessing["mean"] == list(MEAN)
        assert preprocessing["std"] == list(STD)
        assert preprocessing["pack_side"] == images.pack_side(SIZE)
        assert cells.keys() >= {"tokens", "mean_latitude", "mean_longitude"}
        assert {len(each) for each in cells.values()} == {len(locator.partition)}
        [pixels], [scores] = session.get_inputs(), session.get_outputs()
        assert (pixels.name, pixels.type) == ("pixels", "tensor(uint8)")
        assert isinstance(pixels.shape[0], str) and pixels.shape[1:] == [SIZE, SIZE, 3]
        assert (scores.name, scores.type) == ("scores", "tensor(float)")
        assert scores.shape[1] == len(locator.partition)


def test_the_file_names_the_licence_that_the_model_must_carry(tmp_path):
    about = ABOUT | {"model_licence": "CC BY-SA 4.0 (share-alike)"}
    export(linear(about=about), tmp_path / "model.onnx")
    metadata = onnx.load(tmp_path / "model.onnx").metadata_props
    [told] = [json.loads(each.value) for each in metadata if each.key == "model_licence"]
    assert told == about["model_licence"]
    assert OnnxLocator.load(tmp_path / "model.onnx").about == about


def test_what_was_exported_is_all_there_when_loaded(locator, files):
    for path in files.values():
        exported = OnnxLocator.load(path)
        for name in ("backbone", "image_size", "decoding", "calibration", "about"):
            assert getattr(exported, name) == getattr(locator, name), name
        assert same(exported.partition, locator.partition)


def test_the_file_is_valid_and_knows_nothing_of_the_machine(files):
    home = str(Path.home())
    here = [str(Path.cwd()), str(Path(torch.__file__).parents[2]), tempfile.gettempdir()]
    for path in files.values():
        onnx.checker.check_model(onnx.load(path), full_check=True)
        body = path.read_bytes()
        for text in [".py", "site-packages", "torch/", *here, *([home] if len(home) > 1 else [])]:
            assert text.encode() not in body, text


def weights(path: Path) -> dict[str, np.ndarray]:
    """Those of every layer, as the graph's constants give them."""
    graph = onnx.load(path).graph
    found = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    evaluated = dict(found)
    for node in graph.node:  # the first ones have no inputs but constants
        if all(name in evaluated for name in node.input):
            alone = helper.make_graph(
                [node],
                "alone",
                [],
                [helper.make_empty_tensor_value_info(node.output[0])],
                [numpy_helper.from_array(evaluated[n], n) for n in node.input],
            )
            content = helper.make_model(alone, opset_imports=[helper.make_opsetid("", OPSET)])
            [evaluated[node.output[0]]] = ReferenceEvaluator(content).run(None, {})
    layers = [each for each in graph.node if each.op_type in ("Conv", "Gemm", "MatMul")]
    return {each.input[1]: evaluated[each.input[1]] for each in layers}


def test_the_small_file_keeps_large_weights_in_eight_bits(files):
    assert files["small"].stat().st_size < 0.4 * files["full"].stat().st_size
    values = dict.fromkeys((TensorProto.INT8, TensorProto.FLOAT16, TensorProto.FLOAT), 0)
    for each in onnx.load(files["small"]).graph.initializer:
        if np.prod(each.dims) >= SMALLEST:
            values[each.data_type] += np.prod(each.dims)
    assert values[TensorProto.INT8] > 8 * values[TensorProto.FLOAT16] > 0
    assert values[TensorProto.INT8] > 8 * values[TensorProto.FLOAT]
    full, small = weights(files["full"]), weights(files["small"])
    assert full.keys() == small.keys()
    for name, values in full.items():
        if values.size < SMALLEST:
            assert (small[name] == values).all()
            continue
        rows = values.reshape(len(values), -1)
        off = np.abs(small[name].reshape(rows.shape) - rows)
        # No worse than if each output had one scale.
        assert (off <= 0.501 * np.abs(rows).max(axis=1, keepdims=True) / 127).all()
        assert off.max() > 0


@pytest.mark.parametrize(
    ("kind", "by"), [("Gemm", "columns"), ("Gemm", "rows"), ("MatMul", "columns")]
)
def test_weights_are_packed_whichever_way_they_lie(kind, by):
    """Outputs of different sizes keep their precision."""
    rng = np.random.default_rng(0)
    weight = (rng.normal(size=(128, 80)) * 10.0 ** rng.uniform(-0.5, 0.5, 80)).astype(np.float32)
    batch = rng.normal(size=(4, 128)).astype(np.float32)
    turned = {"transB": 1} if by == "rows" else {}
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "w"], ["y"], **turned)],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 128])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 80])],
        [numpy_helper.from_array(np.ascontiguousarray(weight.T) if turned else weight, "w")],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    nogps.model.export._quantise(content.graph)
    kinds = {each.data_type for each in content.graph.initializer if np.prod(each.dims) == 10240}
    assert kinds == {TensorProto.INT8}
    onnx.checker.check_model(content, full_check=True)
    session = onnxruntime.InferenceSession(content.SerializeToString())
    [found] = session.run(None, {"x": batch})
    off = np.abs(found - batch @ weight).max(axis=0)
    assert (off < 0.03 * np.linalg.norm(weight, axis=0)).all()


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the old one")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # as a disk that is full
    try:
        with pytest.raises(OSError):
            export(linear(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


# What is no model


def test_what_is_no_onnx_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(InputError, match=r"model\.onnx is not there; `nogps export` writes one"):
        OnnxLocator.load(path)
    for body in (b"", b"nothing", b"\0" * 1000):
        path.write_bytes(body)
        with pytest.raises(InputError, match="is no "):
            OnnxLocator.load(path)
    torch.save({"format": FORMAT}, path)
    with pytest.raises(InputError, match="is no ONNX model"):
        OnnxLocator.load(path)


def test_half_a_file_is_refused(files, tmp_path):
    body = files["small"].read_bytes()
    for share in (0.1, 0.5, 0.99):
        (tmp_path / "model.onnx").write_bytes(body[: int(share * len(body))])
        with pytest.raises(InputError, match="is no "):
            OnnxLocator.load(tmp_path / "model.onnx")


def test_a_model_of_somebody_else_is_refused(little, tmp_path):
    bare = dict.fromkeys((each.key for each in onnx.load(little).metadata_props), None)
    for metadata in ({}, {"author": "somebody else"}, {"format": "3"}, {"names": '{"0": "cat"}'}):
        path = rewritten(little, tmp_path / "model.onnx", **bare | metadata)
        with pytest.raises(InputError, match="is no nogps model; `nogps export` writes one"):
            OnnxLocator.load(path)


@pytest.mark.parametrize("missing", ["format", "cells", "calibration", "decoding", "image_size"])
def test_a_damaged_description_is_refused(little, missing, tmp_path):
    with pytest.raises(InputError, match="is no nogps model"):
        OnnxLocator.load(rewritten(little, tmp_path / "model.onnx", **{missing: None}))


def test_a_description_of_another_model_is_refused(little, tmp_path):
    described = {each.key: each.value for each in onnx.load(little).metadata_props}
    cells = json.loads(described["cells"])
    fewer = {name: values[1:] for name, values in cells.items()}
    for damage in ({"image_size": "24"}, {"image_size": "0"}, {"cells": json.dumps(fewer)}):
        with pytest.raises(InputError, match="is no nogps model"):
            OnnxLocator.load(rewritten(little, tmp_path / "model.onnx", **damage))


def test_another_version_is_refused(little, tmp_path):
    path = rewritten(little, tmp_path / "model.onnx", format=str(FORMAT + 1))
    with pytest.raises(InputError, match="another version of nogps; export it again"):
        OnnxLocator.load(path)
