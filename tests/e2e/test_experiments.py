"""Small versions of the experiments in experiments/, run as users run them."""

import sys

import numpy as np
import pandas as pd
import torch

from nogps.earth import geo
from nogps.model import backbones
from tests.project import fill_folder, make_project

BACKBONE = "shufflenet_v2_x0_5"


def test_an_ablation_compares_variants_with_the_recipe(tmp_path):
    fill_folder(tmp_path / "album")
    torch.manual_seed(0)
    torch.save(backbones.build(BACKBONE, 7).state_dict(), tmp_path / "body.pth")
    project = make_project(
        tmp_path / "clone",
        source="folder",
        folder__path=str(tmp_path / "album"),
        cells__min_photos=4,
        cells__max_photos=30,
        download__min_side=32,
        backbone=BACKBONE,
        weights=str(tmp_path / "body.pth"),
        head_epochs=2,
    )
    project.stages("sample", "download", "pack", "split", "cells")
    wanted = ["recipe", "no warm-up", "head alone (epochs: 0)", "head alone, loss: softmax"]
    command = [sys.executable, "experiments/ablation.py", "--seeds", "0", "1", "--only", *wanted]
    first = project.run(*command)
    table = pd.read_csv(project.root / "experiments/results/ablation.csv")
    assert set(wanted) < set(table["variant"])
    assert "decoding: class_mean" in set(table["variant"])  # of the recipe's own networks
    splits = pd.read_parquet(project.root / "data/splits.parquet")
    assert (table["n"] == (splits["fold"] == "val").sum()).all()
    assert (table["seeds"] == 2).all()
    base = table[table["variant"].isin(["recipe", "head alone (epochs: 0)"])]
    assert (base[["region_200km_diff", "geoguessr_diff", "geoguessr_high"]] == 0).all(axis=None)

    runs = [np.load(path) for path in sorted((project.root / "models").rglob("no_warm*.npz"))]
    assert len(runs) == 2
    for how in ("alone", "together"):
        row = table[(table["variant"] == "no warm-up") & (table["photos"] == how)].iloc[0]
        distance = np.concatenate([run[how] for run in runs])
        assert abs(row["country_750km"] - 100 * (distance <= 750).mean()) < 0.01
        assert abs(row["geoguessr"] - geo.geoguessr_score(distance).mean()) < 0.01

    again = project.run(*command)  # there is nothing left to train
    assert "seed 0" in first.stdout
    assert "seed" not in again.stdout.replace("seeds", "")
    assert first.stdout.endswith(again.stdout)
