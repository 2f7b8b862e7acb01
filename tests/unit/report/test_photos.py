import io
from base64 import b64decode

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nogps.photos import images
from nogps.pipeline import benchmarks
from nogps.report import photos
from tests.pictures import encoded, picture

N = 12  # photos, of which the last cannot be read


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder, packed = tmp_path_factory.mktemp("album"), tmp_path_factory.mktemp("packed")
    rows = ["file,latitude,longitude"]
    for each in range(N):
        body = encoded(picture(90, 60, seed=each))
        (folder / f"{each:02}.jpg").write_bytes(body if each < N - 1 else body[:100])
        rows.append(f"{each:02}.jpg,48.2085,16.3721")
    (folder / "photos.csv").write_text("\n".join(rows))
    benchmarks.read_folder(folder, packed, 64)
    return packed


@pytest.fixture
def predictions() -> pd.DataFrame:
    """As data/predictions.parquet gives them: photo 3 has the largest loss, 7 is the farthest."""
    table = pd.DataFrame(
        {
            "photo_id": [f"{each:02}.jpg" for each in range(N)],
            "latitude": 48.2085,
            "longitude": 16.3721,
            "guess_latitude": -33.87,
            "guess_longitude": 151.21,
            "loss": np.where(np.arange(N) == 3, 9.0, 1.0),
            "distance_km": np.where(np.arange(N) == 7, 900.0, 30.0),
            "likeliest": [np.array([2, 0])] * N,
            "likeliest_p": [np.array([0.75, 0.25])] * N,
        }
    )
    lost = ["guess_latitude", "guess_longitude", "loss", "distance_km"]
    table.loc[N - 1, lost] = np.nan
    table.loc[N - 1, ["likeliest", "likeliest_p"]] = None
    return table


def test_the_worst_are_shown_first_and_each_once(packed, predictions, monkeypatch):
    monkeypatch.setattr(photos, "WORST", 1)
    shown = photos.to_show(predictions, packed)["photo_id"].tolist()
    assert shown[:2] == ["03.jpg", "07.jpg"]
    assert sorted(shown) == predictions["photo_id"].tolist()
    assert shown[2:] == sorted(shown[2:])  # the others as they come
    monkeypatch.setattr(photos, "SHOWN", 3)
    assert photos.to_show(predictions, packed)["photo_id"].tolist() == shown[:3]


def test_a_photo_has_its_picture_its_classes_and_its_towns(packed, predictions):
    one = photos.to_show(predictions, packed).set_index("photo_id").loc["05.jpg"]
    assert one.top == [(2, 0.75), (0, 0.25)]
    assert (one.true_place, one.guessed_place) == ("Vienna, Austria", "Sydney, Australia")
    with Image.open(io.BytesIO(b64decode(one.jpeg))) as found:
        pixels = np.asarray(found.convert("RGB")).astype(int)
    whole = images.packed_jpeg(encoded(picture(90, 60, seed=5)), 64)
    with Image.open(io.BytesIO(whole)) as packed_photo:
        expected = np.asarray(packed_photo.convert("RGB")).astype(int)
    assert pixels.shape == expected.shape and np.abs(pixels - expected).mean() < 8


def test_a_photo_that_could_not_be_read_has_neither_picture_nor_guess(packed, predictions):
    [lost] = photos.to_show(predictions, packed).query("jpeg == ''").itertuples()
    assert (lost.photo_id, lost.top, lost.guessed_place) == (f"{N - 1}.jpg", [], "")
    assert lost.true_place == "Vienna, Austria"
