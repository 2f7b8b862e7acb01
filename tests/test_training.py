import dataclasses
import math

import numpy as np
import pytest
import torch

from nogps import model, store, training
from nogps.dataset import Photos, predict
from nogps.errors import InputError
from tests.test_images import encoded, picture

SIZE = 32
SETTINGS = training.Settings(
    epochs=3,
    head_epochs=0,
    batch_size=16,
    lr=1e-3,
    weight_decay=0.0,
    patience=10,
    workers=0,
    seed=0,
    keep_batch_norm=False,
)


def album(folder, pictures, labels, copies=1) -> training.Labelled:
    photos = {str(each): encoded(image, quality=95) for each, image in enumerate(pictures)}
    index = store.pack(list(photos), photos.__getitem__, folder, side=36)
    places = store.places(index) * copies
    labels = np.tile(np.asarray(labels, dtype=np.int64), copies)
    return training.Labelled(
        Photos(store.Shards(folder), places, SIZE),
        labels,
        labels.astype(float),
        labels.astype(float) * 2,
    )


def points(classes: int) -> np.ndarray:
    return np.stack([np.arange(classes) * 1.0, np.arange(classes) * 2.0], axis=1)


def fit(tmp_path, network, train, val, classes, settings=SETTINGS, run_id="run"):
    told = []
    state = training.fit(
        network,
        train,
        val,
        points(classes),
        settings,
        checkpoint=tmp_path / "checkpoint.pt",
        run_id=run_id,
        on_epoch=told.append,
    )
    assert told == state.history
    return state


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixteen photos, one a class."""
    folder = tmp_path_factory.mktemp("packed")
    return album(folder, [picture(48, 48, seed=each) for each in range(16)], range(16))


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v3_small"])
def test_the_first_loss_is_that_of_knowing_nothing(tmp_path, pictures, backbone):
    torch.manual_seed(0)
    settings = dataclasses.replace(SETTINGS, epochs=1)
    state = fit(tmp_path, model.build(backbone, 200), pictures, pictures, 200, settings)
    assert state.first_loss == pytest.approx(math.log(200), rel=0.02)


def test_one_photo_per_class_is_learned(tmp_path, pictures):
    torch.manual_seed(0)
    many = dataclasses.replace(
        pictures,
        photos=Photos(pictures.photos.shards, pictures.photos.places * 4, SIZE),
        **{
            name: np.tile(getattr(pictures, name), 4)
            for name in ("labels", "latitude", "longitude")
        },
    )
    settings = dataclasses.replace(SETTINGS, epochs=20)
    state = fit(tmp_path, model.build("resnet18", 16), many, pictures, 16, settings)
    assert state.history[state.best_epoch].val_accuracy >= 99


def test_shuffled_labels_end_at_chance(tmp_path):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    folds = [
        album(
            tmp_path / name,
            [picture(48, 48, seed=start + each) for each in range(count)],
            rng.integers(8, size=count),
        )
        for name, start, count in (("train", 0, 96), ("val", 1000, 400))
    ]
    settings = dataclasses.replace(SETTINGS, epochs=5)
    state = fit(tmp_path, model.build("resnet18", 8), *folds, 8, settings)
    # 12.5 % by chance, standard error 1.7 points.
    assert max(epoch.val_accuracy for epoch in state.history) < 12.5 + 4 * 1.7


class Killed(BaseException):
    pass


@pytest.mark.parametrize("batch", [1, 7, 8, 9, 17])
def test_a_killed_run_goes_on_as_if_undisturbed(tmp_path, pictures, monkeypatch, batch):
    """Killed after a number of batches, in either phase and between them; dropout included."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1)  # after every batch
    settings = dataclasses.replace(SETTINGS, head_epochs=1, batch_size=2)

    def network():
        torch.manual_seed(0)
        return model.build("mobilenet_v3_small", 16)

    calm = network()
    expected = fit(tmp_path / "calm", calm, pictures, pictures, 16, settings)

    done, step = [0], training._Run.step

    def counted(*args):
        if done[0] == batch:
            raise Killed
        done[0] += 1
        return step(*args)

    monkeypatch.setattr(training._Run, "step", counted)
    with pytest.raises(Killed):
        fit(tmp_path, network(), pictures, pictures, 16, settings)
    monkeypatch.setattr(training._Run, "step", step)
    torch.manual_seed(1)  # what came before in the process must not matter
    resumed = model.build("mobilenet_v3_small", 16)
    state = fit(tmp_path, resumed, pictures, pictures, 16, settings)
    for name, value in calm.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    without_time = [dataclasses.replace(epoch, seconds=0) for epoch in state.history]
    assert without_time == [dataclasses.replace(epoch, seconds=0) for epoch in expected.history]


def test_a_checkpoint_of_another_run_is_left_alone(tmp_path, pictures):
    settings = dataclasses.replace(SETTINGS, epochs=1)
    fit(tmp_path, model.build("resnet18", 16), pictures, pictures, 16, settings, run_id="a")
    torch.manual_seed(0)
    state = fit(tmp_path, model.build("resnet18", 16), pictures, pictures, 16, settings, run_id="b")
    assert state.first_loss == pytest.approx(math.log(16), rel=0.02)


def test_a_broken_checkpoint_starts_again(tmp_path, pictures):
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    settings = dataclasses.replace(SETTINGS, epochs=1)
    assert len(fit(tmp_path, model.build("resnet18", 16), pictures, pictures, 16, settings).history)


def test_the_head_learns_first_and_alone(tmp_path, pictures):
    network = model.build("resnet18", 16)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    settings = dataclasses.replace(SETTINGS, epochs=1, head_epochs=1, keep_batch_norm=True)
    fit(tmp_path, network, pictures, pictures, 16, settings)
    changed = {
        name for name, value in network.state_dict().items() if (value != before[name]).any()
    }
    assert changed == {"fc.weight", "fc.bias"}


def test_pretrained_batch_norm_statistics_stay(tmp_path, pictures):
    network = model.build("resnet18", 16)
    before = network.bn1.running_mean.clone(), network.bn1.weight.clone()
    settings = dataclasses.replace(SETTINGS, epochs=1, keep_batch_norm=True)
    fit(tmp_path, network, pictures, pictures, 16, settings)
    assert torch.equal(network.bn1.running_mean, before[0])
    assert not torch.equal(network.bn1.weight, before[1])


def test_training_stops_and_the_rate_falls_when_nothing_improves(tmp_path, pictures, monkeypatch):
    scores = iter([500.0, 900.0] + [800.0] * 20)
    monkeypatch.setattr(training, "validate", lambda *args: (1.0, 1.0, next(scores)))
    settings = dataclasses.replace(SETTINGS, epochs=20, patience=4)
    state = fit(tmp_path, model.build("resnet18", 16), pictures, pictures, 16, settings)
    assert state.best_epoch == 1
    assert len(state.history) == 2 + 4
    rates = [epoch.lr for epoch in state.history]
    assert rates == pytest.approx([1e-3] * 4 + [3e-4] * 2)


def test_the_best_epoch_is_the_one_that_is_kept(tmp_path, pictures, monkeypatch):
    network, kept = model.build("resnet18", 16), {}
    scores = iter([1.0, 9.0, 2.0])

    def validate(*args):
        score = next(scores)
        kept[score] = network.fc.weight.detach().clone()
        return 1.0, 1.0, score

    monkeypatch.setattr(training, "validate", validate)
    fit(tmp_path, network, pictures, pictures, 16)
    assert torch.equal(network.fc.weight, kept[9.0])
    assert not torch.equal(network.fc.weight, kept[2.0])


def test_equal_scores_are_no_improvement(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(training, "validate", lambda *args: (1.0, 1.0, 500.0))
    settings = dataclasses.replace(SETTINGS, epochs=20, patience=3)
    state = fit(tmp_path, model.build("resnet18", 16), pictures, pictures, 16, settings)
    assert (state.best_epoch, len(state.history)) == (0, 4)


def test_a_loss_that_explodes_is_one_sentence(tmp_path, pictures):
    settings = dataclasses.replace(SETTINGS, lr=1e30)
    with pytest.raises(InputError, match=r"lr: at 1e\+30 the loss became (nan|inf)"):
        fit(tmp_path, model.build("resnet18", 16), pictures, pictures, 16, settings)


def test_photos_outside_every_class_count_in_validation_and_not_in_training(tmp_path, pictures):
    labels = pictures.labels.copy()
    labels[:4] = -1
    some = dataclasses.replace(pictures, labels=labels)
    settings = dataclasses.replace(SETTINGS, epochs=1)
    state = fit(tmp_path, model.build("resnet18", 16), some, some, 16, settings)
    assert state.history[0].photos == 12
    nobody = dataclasses.replace(pictures, labels=np.full(16, -1))
    loss, accuracy, score = training.validate(
        model.build("resnet18", 16), nobody, points(16), settings
    )
    assert math.isnan(loss) and math.isnan(accuracy)
    assert score > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_predictions_come_in_the_photos_order(pictures, workers):
    network = model.build("resnet18", 16).eval()
    together = predict(network, pictures.photos, 5, workers)
    alone = [
        predict(network, Photos(pictures.photos.shards, [place], SIZE), 1, 0)
        for place in pictures.photos.places
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
