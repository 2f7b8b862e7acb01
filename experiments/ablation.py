"""What each choice of the training recipe is worth, on the validation fold alone.

    python experiments/ablation.py --image-size 112 --epochs 3

Takes the photos, folds and cells that the pipeline made (`dvc repro cells`, or an experiment such
as world_streetview.sh), and the recipe in params.yaml. Trains the recipe and each variant of it,
with several seeds, and heads on frozen features, which are compared with each other; what only
concerns the answer is varied on the recipe's own networks. Half of the validation owners calibrate
the answers to the other half, and the other way round. The test fold is not read. It can be
stopped and goes on; results are in experiments/results/ablation.csv.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nogps.base.errors import InputError
from nogps.base.files import replacing
from nogps.earth import geo
from nogps.model.batches import Labelled, predict
from nogps.model.decode import places_of
from nogps.model.guess import Calibration
from nogps.model.locator import Locator
from nogps.pipeline.params import Params, read_params
from nogps.pipeline.training import run_id, setup
from nogps.train.head import fit_head

RESULTS = Path("experiments/results/ablation.csv")
RUNS = Path("models/.ablation")  # the distances of each run; git and DVC ignore it
SHOWN = ("region_200km", "country_750km", "continent_2500km")
DRAWS = 2000

# Each differs from the recipe in params.yaml in one choice.
TRAINED = {
    "recipe": {},
    "no head first (head_epochs: 0)": {"head_epochs": 0},
    "one rate for all layers (layer_decay: 1)": {"layer_decay": 1.0},
    "no warm-up": {"warmup": 0.0},
    "no averaging (ema_decay: 0)": {"ema_decay": 0.0},
    "no weight decay": {"weight_decay": 0.0},
    "no crops (augment.crop: 1)": {"augment": {"crop": 1.0}},
    "colours not varied (augment.colour: 0)": {"augment": {"colour": 0.0}},
    "nothing blanked (augment.erase: 0)": {"augment": {"erase": 0.0}},
    "photos not varied (all three)": {"augment": {"crop": 1.0, "colour": 0.0, "erase": 0.0}},
    "loss: softmax": {"loss": "softmax"},
    "loss: hierarchical": {"loss": "hierarchical"},
    "loss: multilabel": {"loss": "multilabel"},
    "smoothing_km: 75": {"smoothing_km": 75.0},
    "class_balance: 1": {"class_balance": 1.0},
}
# The same for a head on frozen features, which takes seconds.
HEAD = {
    "head alone (epochs: 0)": {},
    "head alone, loss: softmax": {"loss": "softmax"},
    "head alone, loss: hierarchical": {"loss": "hierarchical"},
    "head alone, loss: multilabel": {"loss": "multilabel"},
    "head alone, smoothing_km: 75": {"smoothing_km": 75.0},
    "head alone, class_balance: 1": {"class_balance": 1.0},
    "head alone, head_weight_decay: 0": {"head_weight_decay": 0.0},
}
# Of the recipe's networks: how they answer.
ANSWERED = {
    "decoding: class_mean": {"decoding": "class_mean"},
    "decoding: class_centre": {"decoding": "class_centre"},
    "no temperature": {"temperature": 1.0},
    "kernel not fitted": {"reach": 1.0, "together_reach": 1.0},
    "views of a place count as one": {"together": 0.0},
    "views of a place count as many": {"together": 1.0},
}


def main() -> None:
    """Read the command line; what the user did wrong comes out as one sentence."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="of the whole network; those of params.yaml")
    parser.add_argument("--image-size", type=int, help="pixels; that of params.yaml")
    parser.add_argument(
        "--only", nargs="+", choices=[*TRAINED, *HEAD], metavar="NAME", help="these variants alone"
    )
    parser.add_argument("--table", action="store_true", help="only print what there is so far")
    options = parser.parse_args()
    try:
        ablate(options)
    except InputError as error:
        sys.exit(f"ablation: {error}")


def ablate(options: argparse.Namespace) -> None:
    """Run what has no result yet, print the table."""
    params = read_params()
    if options.epochs:
        params = params.model_copy(update={"epochs": options.epochs})
    if options.image_size:
        params = params.model_copy(update={"image_size": options.image_size})
    global RUNS
    RUNS = RUNS / run_id(params)[:12]  # other settings or photos have other results
    for seed in options.seeds:
        variants = {name: {**changes, "epochs": 0} for name, changes in HEAD.items()} | TRAINED
        for name in options.only or variants:
            if not (options.table or path_of(name, seed).exists()):
                run(changed(params, variants[name], seed), name, seed)
    table = tabulate(options.seeds)
    if table.empty:
        raise InputError("there is no result yet; run this without --table")
    print(table.round(1).to_string(index=False))
    RESULTS.parent.mkdir(exist_ok=True)
    with replacing(RESULTS) as path:
        table.round(2).to_csv(path, index=False, lineterminator="\n")


def changed(params: Params, changes: dict, seed: int) -> Params:
    """The parameters of one run."""
    augment = params.augment.model_copy(update=changes.get("augment", {}))
    own = {key: changes[key] for key in changes if key in Params.model_fields}
    return params.model_copy(update={**own, "augment": augment, "seed": seed})


def path_of(name: str, seed: int) -> Path:
    """Where a run's distances are kept."""
    return RUNS / f"{''.join(c if c.isalnum() else '_' for c in name)}-{seed}.npz"


def run(params: Params, name: str, seed: int) -> None:
    """Train one variant and keep how far off its answers are, one by one and an owner's as one."""
    print(f"{name}, seed {seed}", flush=True)
    learning = setup(params)
    learning.fit(
        path_of(name, seed).with_suffix(".pt"),
        run_id=f"{name} {seed} {params.model_dump_json()}",
        on_epoch=lambda epoch: None,
        probe=fit_head,
    )
    locator, val = learning.locator, learning.val
    outputs = predict(locator.network, val.photos, params.batch_size)
    if name == "recipe":
        for other, changes in ANSWERED.items():
            decoding = changed(params, changes, seed).decoding
            fixed = {key: changes[key] for key in changes if hasattr(Calibration, key)}
            answers(replace(locator, decoding=decoding), outputs, val, other, seed, fixed)
    answers(locator, outputs, val, name, seed)
    path_of(name, seed).with_suffix(".pt").unlink(missing_ok=True)


def answers(
    plain: Locator,
    outputs: torch.Tensor,
    val: Labelled,
    name: str,
    seed: int,
    fixed: dict | None = None,
) -> None:
    """Answer each half of the validation owners with what fits the other half."""
    owner = np.array(places_of(val.owner))
    half = np.isin(owner, np.unique(owner)[::2])
    alone, together, inside = np.empty(len(owner)), np.empty(len(owner)), np.zeros((2, len(owner)))
    for fitted, asked in ((half, ~half), (~half, half)):
        locator = plain.calibrated(
            outputs[fitted], val.latitude[fitted], val.longitude[fitted], owner[fitted], fixed
        )
        truth = val.latitude[asked], val.longitude[asked]
        found = locator.answers(outputs[asked])
        alone[asked] = geo.distance_km(*truth, found.latitude, found.longitude)
        inside[0, asked] = alone[asked] <= found.radius_50_km
        inside[1, asked] = alone[asked] <= found.radius_90_km
        found = locator.answers(outputs[asked], owner[asked])
        together[asked] = geo.distance_km(*truth, found.latitude, found.longitude)
    path = path_of(name, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, alone=alone, together=together, inside=inside, owner=owner)


def tabulate(seeds: list[int]) -> pd.DataFrame:
    """Every variant that has results against the recipe."""
    rows = []
    for name in (*TRAINED, *ANSWERED, *HEAD):
        recipe = next(iter(HEAD if name in HEAD else TRAINED))
        done = [
            seed
            for seed in seeds
            if path_of(name, seed).exists() and path_of(recipe, seed).exists()
        ]
        if not done:
            continue
        runs, base = (
            [dict(np.load(path_of(each, seed))) for seed in done] for each in (name, recipe)
        )
        for how in ("alone", "together"):
            rows.append({"variant": name, "photos": how, **compared(runs, base, how)})
    return pd.DataFrame(rows)


def compared(runs: list[dict], base: list[dict], how: str) -> dict[str, float]:
    """Percent within the radii and mean score over the seeds, and differences from the recipe.

    The 95 % intervals come from drawing owners (Efron's bootstrap), each with its photos of all
    seeds; `seeds_sd` is the standard deviation of the score between seeds.
    """
    owner = pd.factorize(runs[0]["owner"])[0]
    here, there = (np.stack([each[how] for each in group]) for group in (runs, base))
    row = {"n": here.shape[1], "seeds": len(here)}
    for key in SHOWN:
        values = [100.0 * (each <= geo.RADII_KM[key]) for each in (here, there)]
        row |= difference(key, *values, owner)
    row |= difference("geoguessr", *(geo.geoguessr_score(each) for each in (here, there)), owner)
    row["seeds_sd"] = float(np.std(geo.geoguessr_score(here).mean(axis=1)))
    for number, share in enumerate((50, 90)):
        row[f"within_radius_{share}"] = 100 * np.mean([each["inside"][number] for each in runs])
    return row


def difference(key: str, here: np.ndarray, there: np.ndarray, owner: np.ndarray) -> dict:
    """Mean of the one, of shape (seeds, photos), and its difference from the other, by owners."""
    count = np.bincount(owner)
    apart = np.bincount(owner, weights=(here - there).mean(axis=0))
    drawn = np.random.default_rng(0).integers(len(count), size=(DRAWS, len(count)))
    means = apart[drawn].sum(axis=1) / count[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        key: here.mean(),
        f"{key}_diff": (here - there).mean(),
        f"{key}_low": low,
        f"{key}_high": high,
    }


if __name__ == "__main__":
    main()
