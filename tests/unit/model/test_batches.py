import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from nogps.dataset import packing
from nogps.model import tensors
from nogps.model.batches import WHOLE, Photos, loader, of_each
from nogps.photos import shards
from tests.locators import varied
from tests.pictures import encoded, picture

SIZE = 32


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Eleven packed photos: their shards and where each lies."""
    folder = tmp_path_factory.mktemp("packed")
    bodies = {str(each): encoded(picture(60, 48, seed=each)) for each in range(11)}
    index = packing.pack(list(bodies), bodies.__getitem__, folder, side=36)
    return shards.Shards(folder), shards.byte_ranges(index)


def batches(keys, size=4):
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def seen(photos, keys, workers):
    given = list(loader(replace(photos, workers=workers), batches(keys)))
    return torch.cat([pixels for pixels, _ in given]), torch.cat([numbers for _, numbers in given])


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(packed, workers):
    photos = Photos(*packed, SIZE, 5, varied(erase=0.5))
    order = np.random.default_rng(0).permutation(11).tolist()
    keys = [(epoch, number) for epoch in (0, 1) for number in order]
    alone, numbers = seen(photos, keys, 0)
    pixels, same_numbers = seen(photos, keys, workers)
    assert numbers.tolist() == same_numbers.tolist() == order * 2
    assert (pixels == alone).all()


def test_a_variant_depends_on_seed_epoch_and_number(packed):
    photos = Photos(*packed, SIZE, 5, varied())
    assert (photos[0, 3][0] == photos[0, 3][0]).all()
    assert (photos[0, 3][0] != photos[1, 3][0]).any()
    assert (photos[0, 3][0] != Photos(*packed, SIZE, 6, varied())[0, 3][0]).any()
    twice = Photos(packed[0], [packed[1][3]] * 2, SIZE, 5, varied())  # one photo under two numbers
    assert (twice[0, 0][0] != twice[0, 1][0]).any()


def test_settings_of_augmentation_are_followed(packed):
    plain = Photos(*packed, SIZE, 5, varied(crop=1, colour=0))
    assert (plain[0, 3][0] == plain[WHOLE, 3][0]).all()
    assert (Photos(*packed, SIZE, 5, varied())[0, 3][0] != plain[0, 3][0]).any()


def test_without_augmentation_a_photo_is_shown_as_it_is(packed):
    photos = Photos(*packed, SIZE, 5)
    assert (photos[0, 3][0] == photos[WHOLE, 3][0]).all()


def test_whole_photos_are_seen_as_everywhere_else(packed):
    """Training's validation, eval and Locator all look through images.whole."""
    photos = Photos(*packed, SIZE, 5, varied(crop=0.1, erase=1))
    looked = of_each(replace(photos, workers=2), lambda pixels: pixels, 4, "look")
    assert len(looked) == 11
    for number, pixels in enumerate(looked):
        jpeg = packed[0].read(packed[1][number])
        assert (pixels == tensors.whole(tensors.to_tensor(jpeg), SIZE)).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_channels_last(packed, workers):
    keys = [(WHOLE, number) for number in range(8)]
    for pixels, _ in loader(Photos(*packed, SIZE, workers=workers), batches(keys)):
        assert pixels.shape == (4, 3, SIZE, SIZE) and pixels.dtype == torch.uint8
        assert pixels.is_contiguous(memory_format=torch.channels_last)


def test_the_global_random_state_stays(packed):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    seen(Photos(*packed, SIZE), [(0, number) for number in range(11)], 2)
    assert (torch.get_rng_state() == before).all()


def test_workers_outlive_an_interrupt(packed):
    """Ctrl-C reaches the workers too; the parent alone decides what follows."""

    class Interrupted(Photos):
        def __getitem__(self, key):
            os.kill(os.getpid(), signal.SIGINT)
            return super().__getitem__(key)

    _, numbers = seen(Interrupted(*packed, SIZE), [(0, number) for number in range(8)], 2)
    assert numbers.tolist() == list(range(8))
