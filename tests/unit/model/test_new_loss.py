"""What a new loss takes: a module and its line in a registry."""

import importlib
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import nogps.model
from nogps.base.errors import InputError
from nogps.model import objectives, settings
from nogps.model.batches import Labelled
from nogps.model.locator import Locator
from nogps.train.run import Run
from tests.partitions import classes, positions
from tests.project import ROOT, shown_below
from tests.settings import TRAINING

FOCAL = shown_below("A new loss")
LINE = '    "focal": "nogps.model.focal:Focal",\n'


@pytest.fixture
def focal(tmp_path, monkeypatch) -> dict:
    """The module and the line, in copies; what settings.py then holds."""
    (tmp_path / "focal.py").write_text(FOCAL)
    monkeypatch.setattr(nogps.model, "__path__", [*nogps.model.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    source = Path(settings.__file__).read_text()
    first = source.index('    "softmax": ')
    (tmp_path / "settings.py").write_text(source[:first] + LINE + source[first:])
    found = runpy.run_path(str(tmp_path / "settings.py"))
    monkeypatch.setattr(settings, "OBJECTIVES", found["OBJECTIVES"])
    monkeypatch.setattr(objectives, "OBJECTIVES", found["OBJECTIVES"])
    return found


def test_every_loss_of_the_registry_is_an_objective():
    for loss in settings.OBJECTIVES:
        assert issubclass(objectives.objective_class(loss), objectives.Objective)


def test_a_loss_that_the_registry_names_may_be_asked_for(focal):
    model = {**TRAINING.model_dump(include=set(settings.ModelSettings.model_fields))}
    assert focal["ModelSettings"](**model | {"loss": "focal"}).loss == "focal"
    with pytest.raises(ValueError, match="'focal', 'softmax'"):
        focal["ModelSettings"](**model | {"loss": "hinge"})


def test_a_network_learns_by_it_and_is_kept(focal, tmp_path):
    partition = classes("adaptive")
    chosen = TRAINING.model_copy(update={"loss": "focal", "backbone": "shufflenet_v2_x0_5"})
    torch.manual_seed(0)
    locator = Locator.untrained(partition, chosen, about={})
    fold = Labelled(None, *positions(), np.full(400, "", dtype=object))
    run = Run(locator, fold, fold, chosen)
    inside = partition.assign(*positions()) >= 0
    assert run.teaching.tolist() == np.flatnonzero(inside).tolist()
    numbers = torch.from_numpy(run.teaching[:8])
    pixels = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    run.train_mode()
    losses = [run.step(pixels, numbers).item() for _ in range(5)]
    first = (1 - 1 / len(partition)) ** 2 * np.log(len(partition))
    assert losses[0] == pytest.approx(first, rel=0.02)
    assert losses[-1] < losses[0]
    locator.network.eval()
    locator.save(tmp_path / "model.pt")
    square = np.zeros((32, 32, 3), np.uint8)
    again = Locator.load(tmp_path / "model.pt")
    assert again.loss == "focal"
    assert again.scores(square) == pytest.approx(locator.scores(square), abs=1e-5)


def test_a_model_of_a_loss_that_is_gone_says_so(focal, tmp_path, monkeypatch):
    chosen = TRAINING.model_copy(update={"loss": "focal", "backbone": "shufflenet_v2_x0_5"})
    Locator.untrained(classes("adaptive"), chosen, about={}).save(tmp_path / "model.pt")
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"model\.pt: OBJECTIVES .* has no loss `focal`"):
        Locator.load(tmp_path / "model.pt")


def test_the_page_shows_what_is_tested_here():
    page = (ROOT / "docs/extending.md").read_text("utf-8")
    if "A new loss" in page:
        assert FOCAL.strip() in page and LINE.strip() in page
