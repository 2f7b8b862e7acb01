import numpy as np
import pytest
import torch

from nogps import model
from nogps.errors import InputError
from nogps.images import BadImage
from nogps.locate import Locator
from nogps.partition import fixed_level
from tests.test_images import encoded, picture


@pytest.fixture
def locator() -> Locator:
    rng = np.random.default_rng(0)
    classes = fixed_level(
        rng.uniform(-60, 60, 400), rng.uniform(-180, 180, 400), level=2, min_photos=3
    )
    torch.manual_seed(0)
    network = model.build("resnet18", len(classes))
    network.fc.weight.data *= 1000  # so that classes differ
    return Locator(network.eval(), classes, "resnet18", 64)


def test_what_is_saved_answers_the_same_when_loaded(locator, tmp_path):
    locator.save(tmp_path / "model.pt")
    again = Locator.load(tmp_path / "model.pt")
    photo = encoded(picture(300, 200))
    (tmp_path / "photo.jpg").write_bytes(photo)
    assert again.locate(photo) == locator.locate(photo) == again.locate(tmp_path / "photo.jpg")
    assert again.partition.assign([10.0], [20.0]) == locator.partition.assign([10.0], [20.0])


def test_a_guess_is_the_mean_place_of_the_likeliest_class(locator):
    scores = torch.zeros(2, len(locator.partition))
    scores[0, 5] = 30.0
    scores[1, 2] = np.log(len(locator.partition) - 1)
    sure, half = locator.guesses(scores)
    latitude, longitude = locator.partition.points()
    assert (sure.latitude, sure.longitude) == (latitude[5], longitude[5])
    assert sure.cell == locator.partition.tokens[5]
    assert sure.confidence == pytest.approx(1.0)
    assert half.confidence == pytest.approx(0.5)


def test_a_photo_that_cannot_be_read_says_so(locator):
    with pytest.raises(BadImage):
        locator.locate(b"no photo")


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        Locator.load(tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no nogps model"):
        Locator.load(tmp_path / "model.pt")
    torch.save({"format": 0}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="another version"):
        Locator.load(tmp_path / "model.pt")


def test_a_damaged_model_is_refused(locator, tmp_path):
    locator.save(tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt")
    del content["weights"]["fc.bias"]
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match="is damaged"):
        Locator.load(tmp_path / "model.pt")
