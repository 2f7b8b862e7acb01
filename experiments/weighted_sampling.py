"""Do photos drawn where a model was worst help more than as many drawn evenly?

    python -m experiments.weighted_sampling [FOLDER]

Draws a simulated planet once and keeps the photos of some photographers out of every training
run. A first run on evenly drawn photos says where it was worst. Then, for each seed, a run on as
many photos drawn by that, and beside it one on as many drawn evenly anew. Measured on the photos
that were kept out: overall, and in the fifth of the regions where the validation photos of the
first run fared worst.

Works in FOLDER (tmp/weighted_sampling), goes on there where it was stopped, and writes
experiments/results/weighted_sampling.csv.
"""

import argparse
import json
import os
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from nogps.base.files import replacing
from nogps.earth import (
    geo,
    s2,
)
from nogps.evaluate.protocol import wilson
from planet.photos import photos
from planet.picture import jpeg
from tests.project import Project, make_project

ROOT = Path(__file__).parents[1]

STAGES = ("sample", "download", "pack", "split", "cells", "train", "eval")
KEPT = ("data/candidates.parquet", "data/predictions.parquet", "metrics/regions.csv")
RESULTS = ROOT / "experiments/results/weighted_sampling.csv"
KEYS = ("region_200km", "country_750km")
RESAMPLES = 2000


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "tmp/weighted_sampling")
    parser.add_argument("--planet", type=int, default=20_000, help="photos on the planet")
    parser.add_argument("--photos", type=int, default=2_500, help="photos drawn for a run")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    begin(folder, [arguments.planet, arguments.photos, arguments.epochs])
    draw_planet(folder, arguments.planet)
    project = clone(folder, arguments.photos, arguments.epochs)
    tables = []
    # Another draw than those that are compared: they must not inherit its luck.
    first = run(project, folder / "runs/first", seed=101)
    for seed in arguments.seeds:
        even = run(project, folder / f"runs/{seed}-even", seed)
        weighted = run(project, folder / f"runs/{seed}-weighted", seed, first / "regions.csv")
        tables.append(compared(seed, first, even, weighted))
    photos_measured = pd.concat(tables)
    table = pd.DataFrame(
        [
            line(where, seed, rows)
            for where, inside in (
                ("everywhere", photos_measured),
                ("worst fifth", photos_measured[photos_measured["worst"]]),
            )
            for seed, rows in [*inside.groupby("seed"), ("all", inside)]
        ]
    )
    arguments.results.parent.mkdir(exist_ok=True)
    with replacing(arguments.results) as path:
        table.to_csv(path, index=False, float_format="%.2f", lineterminator="\n")
    print(shown(table))


def begin(folder: Path, settings: list[int]) -> None:
    """Note what is run here; it goes on in no folder of other settings."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "settings.json"
    if note.exists() and json.loads(note.read_text()) != settings:
        sys.exit(f"{folder} holds a run of other settings; name another folder, or remove it")
    note.write_text(json.dumps(settings))


def draw_planet(folder: Path, count: int) -> None:
    """The planet's photos in two folders: pool, to draw from, and held_out, to measure on."""
    if (folder / "held_out/photos.csv").exists():
        return
    rows = {"pool": [], "held_out": []}
    for photo in tqdm(photos(0, count), desc="planet", unit="photo"):
        if photo.on_map != "yes" or photo.deleted:
            continue
        name = "held_out" if random.Random(photo.owner).random() < 0.3 else "pool"
        path = folder / name / f"{photo.photo_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with replacing(path, durable=False) as part:
                part.write_bytes(jpeg(photo, 160))
        rows[name].append((path.name, photo.latitude, photo.longitude, photo.owner))
    for name, listed in rows.items():
        table = pd.DataFrame(listed, columns=["file", "latitude", "longitude", "owner"])
        with replacing(folder / name / "photos.csv") as part:
            table.to_csv(part, index=False)


def clone(folder: Path, photos: int, epochs: int) -> Project:
    """A copy of this repository that draws from the pool."""
    if not (folder / "clone/.git").exists():
        make_project(folder / "clone")
    project = Project(folder / "clone")
    project.set(
        source="folder",
        folder__path="../pool",
        sampling__photos=photos,
        image_size=64,
        cells__min_photos=15,
        cells__max_photos=60,
        split__val=0.2,
        split__test=0.05,
        batch_size=32,
        epochs=epochs,
        workers=0,
        eval__benchmarks=["../held_out"],
    )
    return project


def run(project: Project, kept: Path, seed: int, weights: Path | str = "") -> Path:
    """Run the stages, unless that is done, and keep what they say in the folder `kept`."""
    if kept.exists():
        return kept
    print(f"running {kept.name}", file=sys.stderr)
    project.set(seed=seed, sampling__weights=str(weights))
    project.stages(*STAGES)
    part = kept.with_name(f".{kept.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in KEPT:
        shutil.copy2(project.root / name, part)
    part.rename(kept)
    return kept


def compared(seed: int, first: Path, even: Path, weighted: Path) -> pd.DataFrame:
    """A row for each held-out photo: whether the two runs placed it, whether it is hard."""
    regions = pd.read_csv(first / "regions.csv", dtype={"region": str})
    regions = regions[regions["fold"] == "val"]
    order = regions.sort_values(["weight", "geoguessr"], ascending=[False, True])
    worst = order["region"].head(max(1, round(len(order) / 5)))
    level = int(s2.level([s2.from_token(worst.iloc[0])])[0])

    def hard(table: pd.DataFrame) -> np.ndarray:
        ids = s2.parent(s2.cell_ids(table["latitude"], table["longitude"]), level)
        return np.isin(ids, [s2.from_token(token) for token in worst])

    table = None
    for name, kept in (("even", even), ("weighted", weighted)):
        predictions = pd.read_parquet(kept / "predictions.parquet")
        predictions = predictions[predictions["set"] == "held_out"].set_index("photo_id")
        if table is None:
            table = predictions[["owner"]].assign(seed=seed, worst=hard(predictions))
        candidates = pd.read_parquet(kept / "candidates.parquet")
        table[f"{name}_drawn"] = len(candidates)
        table[f"{name}_drawn_worst"] = np.count_nonzero(hard(candidates))
        for key in KEYS:
            table[f"{name}_{key}"] = predictions["distance_km"] <= geo.RADII_KM[key]
    return table


def line(where: str, seed: int | str, rows: pd.DataFrame) -> dict:
    """Percent within each distance with 95 % intervals, and what weighting changed.

    The interval of the change is a paired bootstrap over photographers. Those of seed `all` are as
    wide as one seed's: the photos are the same.
    """
    seeds = rows["seed"].nunique()
    out = {"where": where, "seed": seed, "n": len(rows)}
    for name in ("even", "weighted"):
        drawn = f"{name}_drawn" + "_worst" * (where == "worst fifth")
        out[f"{name}_drawn"] = rows.groupby("seed")[drawn].first().mean()
        for key in KEYS:
            hits = int(rows[f"{name}_{key}"].sum())
            out[f"{name}_{key}"] = 100 * hits / len(rows)
            out[f"{name}_{key}_low"], out[f"{name}_{key}_high"] = wilson(
                round(hits / seeds), len(rows) // seeds
            )
    for key in KEYS:
        change = rows[f"weighted_{key}"].astype(float) - rows[f"even_{key}"].astype(float)
        people = change.groupby(rows["owner"].to_numpy()).agg(["sum", "size"]).to_numpy()
        drawn = np.random.default_rng(0).integers(len(people), size=(RESAMPLES, len(people)))
        means = people[drawn, 0].sum(axis=1) / people[drawn, 1].sum(axis=1)
        out[f"change_{key}"] = 100 * change.mean()
        out[f"change_{key}_low"], out[f"change_{key}_high"] = 100 * np.percentile(
            means, [2.5, 97.5]
        )
    return out


def shown(table: pd.DataFrame) -> str:
    """The table for people."""

    def percent(row: pd.Series, name: str) -> str:
        half = (row[f"{name}_high"] - row[f"{name}_low"]) / 2
        sign = "+" if name.startswith("change") else ""
        return f"{row[name]:{sign}.1f} ±{half:.1f}"

    columns = [("even", "even"), ("weighted", "weighted"), ("change", "change")]
    lines = [
        f"{'':27}{'photos drawn there':>20}{'within 200 km, %':>38}{'within 750 km, %':>38}",
        f"{'where':<12}{'seed':>6}{'n':>9}{'even':>10}{'weighted':>10}"
        + 2 * ("  " + "".join(f"{title:>12}" for title, _ in columns)),
    ]
    for _, row in table.iterrows():
        lines.append(
            f"{row['where']:<12}{row['seed']:>6}{row['n']:>9,}"
            f"{row['even_drawn']:>10.0f}{row['weighted_drawn']:>10.0f}"
            + "".join(
                "  " + "".join(f"{percent(row, f'{name}_{key}'):>12}" for _, name in columns)
                for key in KEYS
            )
        )
    return "\n".join(lines)


if __name__ == "__main__":
    os.nice(15)
    main()
