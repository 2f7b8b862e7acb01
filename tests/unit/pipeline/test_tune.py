import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from nogps.base.errors import InputError
from nogps.pipeline import tune
from nogps.pipeline.params import Params, read_params
from tests.project import PARAMS


@pytest.fixture
def params() -> Params:
    return read_params(PARAMS)


def test_what_is_searched_is_typed_plainly(params):
    space = tune.parse_space(
        [
            "lr=1e-5:1e-2",
            "weight_decay=0.1:0.3",
            "epochs=2:40:linear",
            "patience=2:4:log",
            "batch_size=16,64",
            "augment.crop=0.1:1",
            "loss=softmax,smoothed",
        ],
        params,
    )
    assert space == {
        "lr": FloatDistribution(1e-5, 1e-2, log=True),
        "weight_decay": FloatDistribution(0.1, 0.3),
        "epochs": IntDistribution(2, 40),
        "patience": IntDistribution(2, 4, log=True),
        "batch_size": CategoricalDistribution(["16", "64"]),
        "augment.crop": FloatDistribution(0.1, 1, log=True),
        "loss": CategoricalDistribution(["softmax", "smoothed"]),
    }


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("lr", "neither a range nor choices"),
        ("lr=1e-3", "neither a range nor choices"),
        ("lr=1e-2:1e-5", "neither a range nor choices"),
        ("lr=low:high", "neither a range nor choices"),
        ("lr=1e-5:1e-2:cubic", "neither a range nor choices"),
        ("weight_decay=0:1:log", "neither a range nor choices"),
        ("lr=0:1", "lr: 0.0 will not do: input should be greater than 0"),
        ("epochs=1:2.5", "epochs: 2.5 will not do"),
        ("batch_size=16,many", "batch_size: many will not do"),
        ("augment.crop=0.5:2", "augment.crop: 2.0 will not do"),
        ("augment=0.5:2", "augment: not a setting of train alone"),
        ("rate=1e-5:1e-2", "rate: not a setting of train alone"),
        # These change the photos or the folds as well.
        ("image_size=64,128", "image_size: not a setting of train alone"),
        ("seed=0:9", "seed: not a setting of train alone"),
    ],
)
def test_what_cannot_be_searched_is_said_before_anything_runs(params, argument, said):
    with pytest.raises(InputError, match=said) as raised:
        tune.parse_space([argument], params)
    assert "\n" not in str(raised.value)


def test_settings_are_drawn_alike_however_often_the_search_is_stopped():
    space = {"lr": FloatDistribution(1e-5, 1e-2, log=True), "epochs": IntDistribution(1, 9)}

    def drawn(stops: bool) -> list[tune.Values]:
        storage = optuna.storages.InMemoryStorage()
        study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
        for _ in range(14):  # the first ten are random
            number, values = tune.next_trial(study, space, seed=3)
            if stops:
                study = optuna.load_study(study_name="s", storage=storage)
                assert tune.next_trial(study, space, seed=3) == (number, values)
            study.tell(number, -abs(values["lr"] - 1e-3))
        return [trial.params for trial in study.trials]

    undisturbed = drawn(stops=False)
    assert drawn(stops=True) == undisturbed
    assert len({values["lr"] for values in undisturbed}) == 14


def test_a_trial_that_died_while_its_settings_were_drawn_does_not_count():
    space = {"lr": FloatDistribution(1e-5, 1e-2, log=True), "epochs": IntDistribution(1, 9)}
    study = optuna.create_study(direction="maximize")
    study.ask({"lr": space["lr"]})
    number, values = tune.next_trial(study, space, seed=0)
    assert number == 1
    assert values.keys() == space.keys()
    assert tune.finished(study, space) == []
    study.tell(number, state=TrialState.FAIL)
    assert [trial.number for trial in tune.finished(study, space)] == [1]


def test_a_search_in_which_everything_fails_ends():
    space = {"lr": FloatDistribution(1, 2)}
    study = optuna.create_study(study_name="s", direction="maximize")
    for _ in range(tune.HOPELESS):
        tune.stop_if_hopeless(study, space)
        study.tell(study.ask(space), state=TrialState.FAIL)
    with pytest.raises(InputError, match=r"all 3 trials failed; see models/\.search/s-02\.log"):
        tune.stop_if_hopeless(study, space)
    study.tell(study.ask(space), 1.0)
    tune.stop_if_hopeless(study, space)
