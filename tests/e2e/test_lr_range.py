"""The learning rate range test, as its users run it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nogps.pipeline import lr_range as script
from tests.project import fill_folder, make_project


def test_it_draws_its_curve_and_leaves_the_rest_alone(tmp_path):
    project = make_project(
        tmp_path / "clone",
        source="folder",
        backbone="shufflenet_v2_x0_5",
        cells__min_photos=4,
        split__near_duplicate_bits=-1,
        lr=0.123,  # has no say
    )
    said = project.run("python", "-m", "nogps.pipeline.lr_range", check=False)
    assert said.returncode == 1
    assert said.stdout == "nogps lr-range: data/cells.csv is not there; `dvc repro` makes it\n"
    fill_folder(project.root / "data/folder")
    colour(project.root / "data/folder")
    project.dvc("repro", "cells")
    project.commit("the data")
    said = project.run(
        "python", "-m", "nogps.pipeline.lr_range", "--from", "1e-6", "--steps", "60"
    ).stdout
    (rate,) = re.findall(r"dvc exp run -S lr=(\S+)", said)
    assert f"a tenth of where it is lowest: {rate}, which is suggested" in said

    table = pd.read_csv(project.root / script.CSV)
    assert list(table.columns) == ["lr", "loss", "smoothed"]
    assert table["lr"].to_numpy() == pytest.approx(np.geomspace(1e-6, 1, 60)[: len(table)])
    assert np.isfinite(table).all(axis=None)
    assert float(rate) == pytest.approx(table["lr"][table["smoothed"].idxmin()] / 10, rel=0.05)
    with Image.open(project.root / script.PNG) as picture:
        assert picture.format == "PNG"
        assert picture.size == (800, 500)
        assert len(picture.convert("RGB").getcolors(10**6)) > 10

    assert project.git("status", "--short") == ""
    assert [path.name for path in (project.root / "models").iterdir()] == [".gitignore"]


def colour(folder: Path) -> None:
    """Give the photos of each place a colour that can be learned in a few steps."""
    rng = np.random.default_rng(0)
    for place in sorted(folder.glob("*/")):
        shade = rng.integers(30, 226, size=3)
        for path in sorted(place.glob("*.jpg")):
            noise = rng.integers(-30, 30, size=(72, 96, 3))
            Image.fromarray((shade + noise).astype(np.uint8)).save(path)
