import dataclasses
import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nogps.base.errors import InputError
from nogps.dataset import cells, packing
from nogps.earth import geo
from nogps.model import backbones, objectives, tensors
from nogps.model.batches import WHOLE, Labelled, Photos, predict
from nogps.model.classes import Partition
from nogps.model.decode import Decoder
from nogps.model.locator import Locator
from nogps.photos import shards
from nogps.train import run as training_run
from nogps.train.head import fit_head
from nogps.train.run import BANDS, Run, parameter_groups
from nogps.train.settings import TrainSettings
from tests.locators import varied
from tests.pictures import encoded, picture
from tests.settings import TRAINING

SIZE = 32


def with_(settings=TRAINING, **changes) -> TrainSettings:
    """These settings, but for some that are not checked."""
    return settings.model_copy(update=changes)


PRETRAINED = with_(weights="imagenet", head_epochs=2, epochs=2)


def globe(classes: int) -> Partition:
    """So many classes, far apart."""
    number = np.arange(classes)
    latitude = np.degrees(np.arcsin(1 - (2 * number + 1) / classes))
    longitude = (number * 137.508 + 180) % 360 - 180  # Vogel's sunflower
    made = cells.fixed_level(latitude, longitude, level=6, min_photos=1)
    assert len(made) == classes
    return made


def album(folder, pictures, labels, classes, copies=1) -> Labelled:
    """Photos taken at the points of their classes."""
    photos = {str(each): encoded(image, quality=95) for each, image in enumerate(pictures)}
    index = packing.pack(list(photos), photos.__getitem__, folder, side=36)
    labels = np.tile(np.asarray(labels, dtype=np.int64), copies)
    latitude, longitude = globe(classes).points()
    return Labelled(
        Photos(shards.Shards(folder), shards.byte_ranges(index) * copies, SIZE, 0, varied()),
        latitude[labels],
        longitude[labels],
        labels.astype(str).astype(object),
    )


def moved(photos: Labelled, latitude: float, longitude: float, count: int):
    """The same photos, the first few taken somewhere else."""
    there = photos.latitude.copy(), photos.longitude.copy()
    there[0][:count], there[1][:count] = latitude, longitude
    return dataclasses.replace(photos, latitude=there[0], longitude=there[1])


def network(classes=16, seed=0, dropout=0.0) -> nn.Module:
    """A network of two layers."""
    torch.manual_seed(seed)
    layers = {
        "conv1": nn.Conv2d(3, 16, 3, stride=2),
        "bn1": nn.BatchNorm2d(16),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(16, 32, 3, stride=2),
        "bn2": nn.BatchNorm2d(32),
        "relu2": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2d(4),
        "flat": nn.Flatten(),
        "dropout": nn.Dropout(dropout),
        "fc": nn.Linear(512, classes),
    }
    nn.init.normal_(layers["fc"].weight, std=1e-3)
    nn.init.zeros_(layers["fc"].bias)
    return nn.Sequential(OrderedDict(layers))


def forgetful(seed=0) -> nn.Module:
    return network(seed=seed, dropout=0.2)


def prepared(net, train, settings=TRAINING, classes=16, val=None) -> Run:
    """A run of a network that answers in so many classes, or in those of a partition."""
    partition = globe(classes) if isinstance(classes, int) else classes
    locator = Locator(net, partition, "none", SIZE, settings.loss, settings.decoding)
    return Run(locator, train, val or train, settings)


def fit(tmp_path, net, train, val, classes=16, settings=TRAINING, run_id="run"):
    told = []
    run = prepared(net, train, settings, classes, val)
    run.fit(tmp_path / "checkpoint.pt", run_id, told.append, fit_head)
    assert told == run.state.history
    return run.state


def weights(net) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixteen photos, one a class."""
    folder = tmp_path_factory.mktemp("packed")
    return album(folder, [picture(48, 48, seed=each) for each in range(16)], range(16), 16)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v3_small"])
def test_the_first_loss_is_that_of_knowing_nothing(tmp_path, backbone):
    few = album(
        tmp_path / "packed", [picture(48, 48, seed=each) for each in range(16)], range(16), 200
    )
    settings = with_(epochs=1)
    torch.manual_seed(0)
    state = fit(tmp_path, backbones.build(backbone, 200), few, few, 200, settings)
    assert state.first_loss == pytest.approx(math.log(200), rel=0.02)


@pytest.mark.parametrize("loss", objectives.OBJECTIVES)
def test_one_photo_per_class_is_learned_and_found_where_it_was_taken(tmp_path, loss):
    """Labels or points that are off by one place would put the guesses somewhere else."""
    pairs = [picture(48, 48, seed=each) for each in range(16)]
    many = album(tmp_path / "packed", pairs, range(16), 16, copies=4)
    once = dataclasses.replace(
        many,
        photos=Photos(many.photos.shards, many.photos.byte_ranges[:16], SIZE),
        **{each: getattr(many, each)[:16] for each in ("latitude", "longitude", "owner")},
    )
    head = objectives.objective_class(loss)(globe(16), 75.0).head
    net = network(classes=head.outputs)
    settings = with_(epochs=20, lr=3e-3, loss=loss)
    state = fit(tmp_path, net, many, once, 16, settings)
    assert state.history[state.best_epoch].val_accuracy >= 99
    p = head(predict(net, once.photos, 16).double()).softmax(dim=1).numpy()
    there = Decoder(globe(16), "class_mean").position(p)
    assert (geo.distance_km(once.latitude, once.longitude, *there) < 1).mean() >= 0.99


def test_shuffled_labels_end_at_chance(tmp_path):
    rng = np.random.default_rng(0)
    folds = [
        album(
            tmp_path / name,
            [picture(48, 48, seed=start + each) for each in range(count)],
            rng.integers(8, size=count),
            8,
        )
        for name, start, count in (("train", 0, 96), ("val", 1000, 400))
    ]
    settings = with_(epochs=5)
    state = fit(tmp_path, network(classes=8), *folds, 8, settings)
    # 12.5 % by chance, standard error 1.7 points.
    assert max(epoch.val_accuracy for epoch in state.history) < 12.5 + 4 * 1.7


class Killed(BaseException):
    pass


KINDS = {
    "from scratch": with_(ema_decay=0.9),
    "pretrained": with_(PRETRAINED, epochs=3, ema_decay=0.9, class_balance=0.5, weight_decay=0.05),
}


@pytest.fixture(scope="module", params=KINDS)
def calm(request, pictures, tmp_path_factory):
    """Settings, and what an undisturbed run with them ends with."""
    settings = with_(KINDS[request.param], batch_size=2)
    net = forgetful()
    state = fit(tmp_path_factory.mktemp("calm"), net, pictures, pictures, 16, settings)
    return settings, weights(net), state


@pytest.mark.parametrize(
    ("batch", "interval"),  # a checkpoint after every batch, or after every epoch only
    [(0, -1), (1, -1), (7, -1), (8, -1), (9, -1), (17, -1), (5, 1e9), (12, 1e9)],
)
def test_a_killed_run_goes_on_as_if_undisturbed(
    tmp_path, pictures, calm, monkeypatch, batch, interval
):
    """Killed after a number of batches, bit for bit; 0: after the head, if it has learned."""
    settings, expected, calm_state = calm
    monkeypatch.setattr(training_run, "CHECKPOINT_SECONDS", interval)
    done, step = [0], Run.step

    def counted(*args):
        if done[0] == batch:
            raise Killed
        done[0] += 1
        return step(*args)

    monkeypatch.setattr(Run, "step", counted)
    with pytest.raises(Killed):
        fit(tmp_path, forgetful(), pictures, pictures, 16, settings)
    monkeypatch.setattr(Run, "step", step)
    # What came before in the process must not matter.
    resumed = forgetful(seed=1 if (tmp_path / "checkpoint.pt").exists() else 0)
    state = fit(tmp_path, resumed, pictures, pictures, 16, settings)
    assert_same(weights(resumed), expected)
    without_time = [dataclasses.replace(epoch, seconds=0) for epoch in state.history]
    assert without_time == [dataclasses.replace(epoch, seconds=0) for epoch in calm_state.history]
    assert state.first_loss == calm_state.first_loss


def test_a_run_that_is_killed_over_and_over_gets_to_its_end(tmp_path, pictures, calm, monkeypatch):
    settings, expected, _ = calm
    monkeypatch.setattr(training_run, "CHECKPOINT_SECONDS", -1)
    step, left, steps = Run.step, [0], [0]

    def counted(*args):
        if not left[0]:
            raise Killed
        left[0] -= 1
        steps[0] += 1
        return step(*args)

    monkeypatch.setattr(Run, "step", counted)
    for _ in range(4):
        left[0] = 5
        with pytest.raises(Killed):
            fit(tmp_path, forgetful(), pictures, pictures, 16, settings)
    left[0], net = 100, forgetful()
    fit(tmp_path, net, pictures, pictures, 16, settings)
    assert steps[0] == 3 * 8  # no batch was learned twice
    assert_same(weights(net), expected)


def test_a_checkpoint_of_another_run_is_left_alone(tmp_path, pictures):
    settings = with_(epochs=1)
    fit(tmp_path, network(), pictures, pictures, 16, settings, run_id="a")
    state = fit(tmp_path, network(), pictures, pictures, 16, settings, run_id="b")
    assert state.first_loss == pytest.approx(math.log(16), rel=0.02)


def test_a_broken_checkpoint_starts_again(tmp_path, pictures):
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    settings = with_(epochs=1)
    assert len(fit(tmp_path, network(), pictures, pictures, 16, settings).history) == 1


def test_the_head_learns_first_and_alone(tmp_path, pictures):
    net = network()
    before = weights(net)
    settings = with_(PRETRAINED, epochs=0)
    state = fit(tmp_path, net, pictures, pictures, 16, settings)
    changed = {name for name, value in weights(net).items() if (value != before[name]).any()}
    assert changed == {"fc.weight", "fc.bias"}
    assert (state.best_epoch, len(state.history)) == (0, 1)


def test_the_head_learns_what_its_features_tell(tmp_path, pictures):
    """Also those of a network whose features are far from zero mean and unit variance."""
    net = network()
    net.bn2.bias.data += 3.0
    settings = with_(PRETRAINED, epochs=0, head_epochs=400, head_lr=0.1)
    state = fit(tmp_path, net, pictures, pictures, 16, settings)
    assert state.history[0].val_accuracy == 100
    assert state.history[0].train_loss == pytest.approx(state.history[0].val_loss, rel=0.05)


def test_the_head_learns_from_the_photos_that_teach_and_their_own_labels(tmp_path, pictures):
    """The first four are in no class; each of the others finds its own."""
    some = moved(pictures, 90.0, 0.0, 4)
    settings = with_(PRETRAINED, epochs=0, head_epochs=400, head_lr=0.1)
    state = fit(tmp_path, network(), some, some, 16, settings)
    assert state.history[0].photos == 12 * 400
    assert state.history[0].val_accuracy == 100


@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize(("head_lr", "decay"), [(1.0, 10.0), (1e-3, 1e4)])
def test_a_head_that_explodes_is_one_sentence(tmp_path, pictures, epochs, head_lr, decay):
    settings = with_(
        PRETRAINED, epochs=epochs, head_epochs=120, head_lr=head_lr, head_weight_decay=decay
    )
    with pytest.raises(InputError, match=r"head_lr: at .*the head's loss"):
        fit(tmp_path, network(), pictures, pictures, 16, settings)


def test_the_body_sees_each_photo_once_however_long_the_head_learns(tmp_path, pictures):
    net, seen = network(), []
    net.conv1.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    settings = with_(PRETRAINED, epochs=0, head_epochs=7)
    fit(tmp_path, net, pictures, pictures, 16, settings)
    assert sum(seen) == 16 + 16 + 16  # features of both folds; and the score at the end


def test_a_head_that_cannot_learn_alone_says_so(tmp_path, pictures):
    with pytest.raises(InputError, match=r"head_epochs: .* set it to 0"):
        fit(tmp_path, backbones.build("squeezenet1_1", 16), pictures, pictures, 16, PRETRAINED)


def test_pretrained_batch_norm_statistics_stay(tmp_path, pictures):
    net = network()
    before = weights(net)
    fit(tmp_path, net, pictures, pictures, 16, with_(PRETRAINED, head_epochs=0))
    after = weights(net)
    for name in before:
        if "running" in name or "num_batches" in name:
            assert torch.equal(after[name], before[name]), name
    assert not torch.equal(after["bn1.weight"], before["bn1.weight"])


def test_batch_norm_statistics_of_a_new_network_are_learned(tmp_path, pictures):
    net = network()
    before = net.bn1.running_mean.clone()
    fit(tmp_path, net, pictures, pictures, 16, with_(epochs=1))
    assert not torch.equal(net.bn1.running_mean, before)


def rates(settings) -> list[float]:
    net = network()
    groups = parameter_groups(net, settings)
    given = [parameter for group in groups for parameter in group["params"]]
    assert {id(each) for each in given} == {id(each) for each in net.parameters()}
    assert len(given) == len(list(net.parameters()))
    assert any(each is net.conv1.weight for each in groups[0]["params"])
    assert {id(each) for each in groups[-1]["params"]} == {id(net.fc.weight), id(net.fc.bias)}
    return [group["lr"] for group in groups]


def test_the_first_layers_learn_slower_and_the_head_at_a_rate_of_its_own():
    found = rates(with_(PRETRAINED, lr=1e-3, head_lr=5e-3, layer_decay=0.5))
    assert len(found) == BANDS + 1 == 9
    assert found[:-1] == pytest.approx([1e-3 * 0.5**each for each in range(7, -1, -1)])
    assert found[-1] == pytest.approx(5e-3)


def test_without_pretrained_weights_all_layers_learn_at_one_rate():
    found = rates(with_(lr=1e-3, head_lr=5e-3, layer_decay=0.01))
    assert found == pytest.approx([1e-3] * len(found))


def test_every_rate_follows_the_schedule(pictures):
    run = prepared(network(), pictures, PRETRAINED)
    highest = [group["lr"] for group in run.optimiser.param_groups]
    run.set_rate(0.25)
    assert [group["lr"] for group in run.optimiser.param_groups] == pytest.approx(
        [0.25 * each for each in highest]
    )


@given(st.integers(2, 500), st.floats(0, 0.9))
def test_the_rate_rises_in_a_line_and_falls_as_a_cosine(steps, warmup):
    found = np.array([with_(warmup=warmup).rate(step, steps) for step in range(steps)])
    rising = max(1, round(warmup * steps))
    assert found[:rising] == pytest.approx(np.arange(1, rising + 1) / rising)
    falling = (np.arange(rising, steps) - rising) / max(1, steps - rising)
    assert found[rising:] == pytest.approx(0.5 * (1 + np.cos(np.pi * falling)))
    assert ((found > 0) & (found <= 1)).all()


def test_an_epoch_is_judged_by_the_averaged_weights_and_training_goes_on_with_its_own(
    tmp_path, pictures, monkeypatch
):
    settings = with_(epochs=2, batch_size=4, ema_decay=0.4, layer_decay=1.0)
    net = network()
    by_hand, learning, judged, scores = weights(net), [weights(net)], [], iter([1.0, 2.0])
    step, average = Run.step, Run.update_ema

    def checked(run, *args):
        assert_same(weights(net), learning[-1])
        return step(run, *args)

    def averaged(run):
        average(run)
        learning.append(weights(net))
        number = len(learning) - 1
        keep = min(0.4, (1 + number) / (10 + number))
        for name, value in learning[-1].items():
            if value.dtype.is_floating_point:
                by_hand[name] = keep * by_hand[name] + (1 - keep) * value
            else:
                by_hand[name] = value

    def validate(*_):
        judged.append((weights(net), dict(by_hand)))
        return 1.0, 1.0, next(scores)

    monkeypatch.setattr(Run, "step", checked)
    monkeypatch.setattr(Run, "update_ema", averaged)
    monkeypatch.setattr(Run, "validate", validate)
    fit(tmp_path, net, pictures, pictures, 16, settings)
    assert len(learning) == 1 + 8
    for found, wanted in [*judged, (weights(net), by_hand)]:
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    assert not torch.equal(judged[0][0]["fc.weight"], learning[4]["fc.weight"])


def test_without_averaging_the_weights_are_those_of_the_last_step(pictures):
    net = network()
    run = prepared(net, pictures)
    run.ema = weights(net)
    run.train_mode()
    run.step(torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8), torch.tensor([0, 1]))
    run.update_ema()
    assert_same(run.ema, weights(net))


@pytest.mark.parametrize(
    ("augmentation", "count"), [(varied(crop=1.0, colour=0.0), 0), (varied(), 16)]
)
def test_photos_are_augmented_as_told_and_validated_as_they_are(
    tmp_path, pictures, monkeypatch, augmentation, count
):
    shown = {"train": {}, "val": {}}
    places = pictures.photos.byte_ranges
    photos = Photos(pictures.photos.shards, places, SIZE, augmentation=augmentation)
    whole = {number: photos[(WHOLE, number)][0] for number in range(16)}
    step = Run.step

    def watched(run, pixels, numbers, *args):
        shown["train"].update(zip(numbers.tolist(), pixels.clone(), strict=True))
        return step(run, pixels, numbers, *args)

    def normalise(pixels):
        if not torch.is_grad_enabled():
            shown["val"].update(enumerate(pixels.clone()))
        return original(pixels)

    original = tensors.normalise
    monkeypatch.setattr(Run, "step", watched)
    monkeypatch.setattr(tensors, "normalise", normalise)
    train = dataclasses.replace(pictures, photos=photos)
    fit(tmp_path, network(), train, train, 16, with_(epochs=1))
    different = [n for n in range(16) if not torch.equal(shown["train"][n], whole[n])]
    assert len(different) == count
    assert all(torch.equal(shown["val"][n], whole[n]) for n in range(16))


def test_balance_gives_each_class_the_same_say(tmp_path, pictures):
    """Class 0 was made from five photos, the others from one each."""
    latitude, longitude = globe(4).points()
    labels = np.array([0, 0, 0, 0, 0, 1, 2, 3])
    classes = cells.fixed_level(latitude[labels], longitude[labels], level=6, min_photos=1)
    assert classes.photos.tolist() == [5, 1, 1, 1]
    few = album(tmp_path / "packed", [picture(48, 48, seed=each) for each in range(8)], labels, 4)
    numbers = torch.tensor([0, 1, 5, 6])
    pixels = torch.stack([few.photos[(WHOLE, number)][0] for number in numbers.tolist()])
    found = {}
    for balance in (0.0, 0.5, 1.0):
        settings = with_(class_balance=balance)
        net = network(classes=4)
        net.fc.weight.data *= 1000
        run = prepared(net, few, settings, classes)
        say = np.bincount(labels, weights=run.weights.numpy())
        assert run.weights.mean() == pytest.approx(1)
        assert say / say[1] == pytest.approx([5 ** (1 - balance), 1, 1, 1])
        outputs = net.train()(tensors.normalise(pixels))
        each = nn.functional.cross_entropy(outputs, torch.tensor([0, 0, 1, 2]), reduction="none")
        found[balance] = run.step(pixels, numbers).item()
        assert found[balance] == pytest.approx(
            (each * run.weights[numbers]).mean().item(), rel=1e-4
        )
    assert len({round(each, 4) for each in found.values()}) == 3


def test_the_head_heeds_the_balance_too(tmp_path, pictures):
    found = []
    for balance in (0.0, 1.0):
        latitude, longitude = globe(4).points()
        labels = np.array([0] * 13 + [1, 2, 3])
        few = dataclasses.replace(pictures, latitude=latitude[labels], longitude=longitude[labels])
        classes = cells.fixed_level(few.latitude, few.longitude, level=6, min_photos=1)
        few = moved(few, 90.0, 0.0, 3)  # in no class
        settings = with_(PRETRAINED, class_balance=balance, head_epochs=5)
        run = prepared(network(classes=4), few, settings, classes)
        fit_head(run)
        outputs = predict(run.network, few.photos, 16)
        found.append(outputs.softmax(dim=1).mean(dim=0)[0].item())
    assert found[1] < found[0] - 0.005  # less for the class of the many


def test_training_stops_when_nothing_improves(tmp_path, pictures, monkeypatch):
    scores = iter([500.0, 900.0] + [800.0] * 20)
    monkeypatch.setattr(Run, "validate", lambda *args: (1.0, 1.0, next(scores)))
    settings = with_(epochs=20, patience=4)
    state = fit(tmp_path, network(), pictures, pictures, 16, settings)
    assert state.best_epoch == 1
    assert len(state.history) == 2 + 4


def test_the_best_epoch_is_the_one_that_is_kept(tmp_path, pictures, monkeypatch):
    net, kept = network(), {}
    scores = iter([1.0, 9.0, 2.0])

    def validate(*args):
        score = next(scores)
        kept[score] = weights(net)
        return 1.0, 1.0, score

    monkeypatch.setattr(Run, "validate", validate)
    fit(tmp_path, net, pictures, pictures)
    assert_same(weights(net), kept[9.0])
    assert not torch.equal(net.fc.weight, kept[2.0]["fc.weight"])


def test_the_head_alone_is_kept_if_nothing_after_it_is_better(tmp_path, pictures, monkeypatch):
    net, judged = network(), []
    scores = iter([9.0, 1.0, 2.0])

    def validate(*_):
        judged.append(weights(net))
        return 1.0, 1.0, next(scores)

    monkeypatch.setattr(Run, "validate", validate)
    state = fit(tmp_path, net, pictures, pictures, 16, PRETRAINED)
    assert (state.best_epoch, len(state.history)) == (0, 3)
    assert_same(weights(net), judged[0])
    assert not torch.equal(judged[0]["conv1.weight"], judged[2]["conv1.weight"])


def test_equal_scores_are_no_improvement(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(Run, "validate", lambda *args: (1.0, 1.0, 500.0))
    settings = with_(epochs=20, patience=3)
    state = fit(tmp_path, network(), pictures, pictures, 16, settings)
    assert (state.best_epoch, len(state.history)) == (0, 4)


def test_a_loss_that_explodes_is_one_sentence(tmp_path, pictures):
    settings = with_(lr=1e30)
    with pytest.raises(InputError, match=r"lr: at 1e\+30 the loss became (nan|inf)"):
        fit(tmp_path, network(), pictures, pictures, 16, settings)


@pytest.mark.parametrize(
    ("loss", "taught"),
    [("softmax", 12), ("smoothed", 16), ("hierarchical", 14), ("multilabel", 16)],
)
def test_photos_outside_every_class_teach_what_the_loss_can_use(tmp_path, pictures, loss, taught):
    """Four of the sixteen are in no class, two of them in a cell that holds some classes."""
    latitude, longitude = (each.ravel() for each in np.mgrid[-30:31:20, -30:31:20].astype(float))
    classes = cells.fixed_level(latitude, longitude, level=6, min_photos=1)
    some = dataclasses.replace(pictures, latitude=latitude, longitude=longitude)
    some = moved(moved(some, 0.0, 180.0, 4), 1.0, 1.0, 2)
    outputs = objectives.objective_class(loss)(classes, 75.0).head.outputs
    settings = with_(epochs=1, loss=loss)
    state = fit(tmp_path, network(outputs), some, some, classes, settings)
    assert state.history[0].photos == taught
    assert math.isfinite(state.history[0].train_loss)


def test_photos_outside_every_class_count_in_validation(pictures):
    nobody = moved(pictures, 90.0, 0.0, 16)
    assert (globe(16).assign(nobody.latitude, nobody.longitude) == -1).all()
    run = prepared(network(), pictures, val=nobody)
    loss, accuracy, score = run.validate()
    assert math.isnan(loss) and math.isnan(accuracy)
    assert score > 0


def test_photos_that_teach_nothing_are_one_sentence(pictures):
    with pytest.raises(InputError, match="no train photo lies in any class"):
        prepared(network(), moved(pictures, 90.0, 0.0, 16))


@given(st.integers(1, 40), st.integers(2, 16), st.integers(0, 3))
def test_an_epoch_shows_each_photo_once_in_an_order_of_its_own(photos, size, epoch):
    run = Run.__new__(Run)
    run.teaching = np.arange(0, 2 * photos, 2)
    run.settings = with_(batch_size=size)
    groups = run.batches(epoch)
    keys = [key for group in groups for key in group]
    assert sorted(keys) == [(epoch, number) for number in range(0, 2 * photos, 2)]
    assert groups == run.batches(epoch)
    assert min(map(len, groups)) >= min(2, photos)  # batch norm cannot learn from one
    if photos > 20:
        assert [number for _, number in keys] != sorted(number for _, number in keys)


@pytest.mark.parametrize("workers", [0, 2])
def test_predictions_come_in_the_photos_order(pictures, workers):
    net = network().eval()
    together = predict(net, dataclasses.replace(pictures.photos, workers=workers), 5)
    alone = [
        predict(net, Photos(pictures.photos.shards, [place], SIZE), 1)
        for place in pictures.photos.byte_ranges
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
