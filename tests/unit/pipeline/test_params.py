"""The one declaration of the parameters, and the files that must say the same."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from nogps.base.errors import InputError
from nogps.pipeline import params_page, run
from nogps.pipeline.params import Machine, Params, check_stages, read_params, stages_by_parameter
from nogps.train.settings import TrainSettings
from tests.project import PARAMS, ROOT

RECIPES = sorted(path for path in (ROOT / "recipes").iterdir() if path.suffix != ".md")


def params(tmp_path: Path, **changes) -> Path:
    """A params.yaml that differs from the one that comes with the project; None: a key is gone."""
    content = yaml.safe_load(PARAMS.read_text())
    for name, value in changes.items():
        *sections, key = name.split("__")
        section = content
        for each in sections:
            section = section[each]
        if value is None:
            del section[key]
        else:
            section[key] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("path", [PARAMS, ROOT / "params.yaml"], ids=["ours", "yours"])
def test_the_parameters_that_are_here_are_right(path):
    assert read_params(path).model_dump().keys() == Params.model_fields.keys()
    assert path.read_text().count("\n") > len(Params.model_fields)


def keys(mapping: dict, prefix: str = "") -> list[str]:
    return [
        each
        for key, value in mapping.items()
        for each in [prefix + key, *(keys(value, f"{key}.") if isinstance(value, dict) else [])]
    ]


def test_no_parameter_has_a_name_that_dvc_leaves_out_of_its_run_cache():
    names = {each.rsplit(".", 1)[-1] for each in keys(yaml.safe_load(PARAMS.read_text()))}
    assert len(names) > 80
    assert not names & {"size", "nfiles"}


def test_each_parameter_is_described():
    for name, section in sections().items():
        for key, field in section.model_fields.items():
            if key not in sections():
                assert field.description and field.description.endswith("."), f"{name}.{key}"


def sections() -> dict[str, type]:
    """Params, and each section of it by its name."""
    fields = {name: field.annotation for name, field in Params.model_fields.items()}
    return {"": Params} | {
        name: each for name, each in fields.items() if hasattr(each, "model_fields")
    }


# ---- dvc.yaml


def test_dvc_yaml_names_each_parameter_and_no_other():
    check_stages(ROOT / "dvc.yaml")
    stages = stages_by_parameter(ROOT / "dvc.yaml")
    assert stages.keys() == Params.model_fields.keys() - Machine.model_fields.keys()
    assert stages["lr"] == ["train"]
    assert "sample" in stages["exclude"]  # a file on which the stage depends


def test_train_depends_on_what_decides_a_checkpoint():
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert set(content["stages"]["train"]["params"]) == set(TrainSettings.model_fields)


@pytest.mark.parametrize(
    ("stage", "before", "after", "sentence"),
    [
        ("cells", "cells", "", "`cells` is not under params of any stage"),
        ("sample", "flickr", "", "`flickr` is not under params of sample"),
        ("train", "lr", "rate", "stage train names `rate`, which is no parameter"),
    ],
)
def test_a_parameter_missing_from_dvc_yaml_is_an_error(tmp_path, stage, before, after, sentence):
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    names = content["stages"][stage]["params"]
    names.remove(before)
    content["stages"][stage]["params"] = names + [after] * bool(after)
    path = tmp_path / "dvc.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError) as raised:
        check_stages(path)
    assert str(raised.value).startswith(f"{path}: {sentence}")
    assert "\n" not in str(raised.value)


def test_no_stage_begins_while_dvc_yaml_lacks_a_parameter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["src/cells.py"])
    shutil.copy(PARAMS, "params.yaml")
    text = (ROOT / "dvc.yaml").read_text()
    ran: list[Params] = []
    Path("dvc.yaml").write_text(text.replace("[partition, cells]", "[partition]"))
    with pytest.raises(SystemExit, match=r"^cells: dvc.yaml: `cells` is not under params of any"):
        run.main(ran.append, "A stage.")
    Path("dvc.yaml").unlink()
    with pytest.raises(SystemExit, match=r"^cells: dvc.yaml is not here"):
        run.main(ran.append, "A stage.")
    assert ran == []
    Path("dvc.yaml").write_text(text)
    run.main(ran.append, "A stage.")
    assert ran == [read_params()]


# ---- what is made of them


def test_the_schema_and_the_page_are_up_to_date(monkeypatch):
    monkeypatch.chdir(ROOT)
    again = "run `nogps params --schema > params.schema.json`"
    assert (ROOT / "params.schema.json").read_text() == params_page.schema(), again
    page = params_page.markdown(PARAMS)
    again = "run `nogps params --markdown > docs/parameters.md`"
    assert (ROOT / "docs/parameters.md").read_text("utf-8") == page, again


def test_editors_find_the_schema():
    first = (ROOT / "params.yaml").read_text().splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named is None or (ROOT / named[1]).exists()  # somebody may have written the file anew
    shape = json.loads(params_page.schema())
    assert shape["properties"]["lr"]["exclusiveMinimum"] == 0
    assert shape["additionalProperties"] is False


def test_the_page_tells_of_each_parameter(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = params_page.markdown(PARAMS)
    names = keys(yaml.safe_load(PARAMS.read_text()))
    for name in set(names) - sections().keys():
        assert f"| `{name}` |" in page
    assert "| `epochs` | integer from 0 | `14` |" in page
    assert "| `cells.max_photos` | integer from 1 | `80` |" in page
    row = next(line for line in page.splitlines() if line.startswith("| `image_size`"))
    assert row.endswith(" |") and "pack, train" in row
    assert "| integer from 0, or null |" in page and "| list of 4 numbers" not in page
    assert "world, or list of 4 numbers, or path" in page


def test_the_command_prints_what_it_is_asked_for(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    params_page.main(as_json=True)
    assert capsys.readouterr().out == params_page.schema()
    params_page.main(page=True)
    assert capsys.readouterr().out == params_page.markdown()
    params_page.main()
    assert "are right" in capsys.readouterr().out


# ---- recipes


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_is_settings_that_the_parameters_take(tmp_path, path):
    lines = path.read_text().splitlines()
    settings = [re.fullmatch(r"-S ([a-z_.]+)=(\S+)", line) for line in lines]
    assert settings and all(settings)
    file = tmp_path / "params.yaml"
    shutil.copy(PARAMS, file)
    apply_overrides(file, [f"{each[1]}={each[2]}" for each in settings])
    read_params(file)
    before, after = (yaml.safe_load(each.read_text()) for each in (PARAMS, file))
    assert keys(before) == keys(after)
    assert before != after
    assert path.name in (ROOT / "recipes/README.md").read_text()


def test_the_recipes_are_there():
    assert {"photos", "street", "two_classes", "im2gps"} <= {path.name for path in RECIPES}
    used = "".join(path.read_text() for path in (ROOT / "experiments").glob("*.sh"))
    assert set(re.findall(r"recipes/(\w+)", used)) == {"street", "two_classes", "im2gps"}


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        ("two_classes.sh", {"partition": "north_south", "source": "streetview", "lr": 0.002}),
        ("two_classes.sh --real here 30", {"world": "real", "budget_usd": 30}),
        ("two_classes.sh --photos here imagenet", {"source": "folder", "loss": "softmax"}),
        ("world_streetview.sh here imagenet", {"ema_decay": 0.995, "precision": "bf16"}),
        ("im2gps.sh 2006-07-20 2007-10-12", {"world": "real", "backbone": "mobilenet_v3_large"}),
    ],
)
def test_an_experiment_asks_for_what_the_parameters_take(tmp_path, command, changes):
    """With stand-ins for dvc and nogps, of which the first notes what it is asked for."""
    for name in ("experiments", "recipes"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name, does in (("dvc", 'printf "%s\\n" "$@" > asked'), ("nogps", "true")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    script, *arguments = command.split()
    given = [str(tmp_path) if each == "here" else each for each in arguments]
    run_script = ["bash", str(tmp_path / "experiments" / script), *given]
    subprocess.run(run_script, check=True, env=os.environ | {"PATH": path})
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:2] == ["exp", "run"]
    assert set(asked[2::2]) == {"-S"}
    file = tmp_path / "params.yaml"
    shutil.copy(PARAMS, file)
    apply_overrides(file, asked[3::2])
    read_params(file)
    after = yaml.safe_load(file.read_text())
    assert {name: after[name] for name in changes} == changes
    assert keys(after) == keys(yaml.safe_load(PARAMS.read_text()))


# ---- values


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lr": None}, "`lr` is missing"),
        ({"cells__min_photos": None}, "`cells.min_photos` is missing"),
        ({"epochs": None, "epoch": 3}, "`epoch` is not a parameter; did you mean `epochs`?"),
        ({"cells__max_photo": 3}, "`cells.max_photo` is not a parameter"),
        ({"lr": "fast"}, "`lr` is 'fast'"),
        ({"lr": -1}, "`lr` is -1: input should be greater than 0"),
        ({"epochs": 2.5}, "`epochs` is 2.5"),
        (
            {"source": "flikr"},
            "`source` is 'flikr': input should be 'flickr', 'streetview', 'panoramax', 'commons', "
            "'mapillary' or 'folder'",
        ),
        ({"world": "flat"}, "`world` is 'flat'"),
        ({"partition": "adaptiv"}, "`partition` is 'adaptiv'"),
        ({"split__test": 0}, "`split.test` is 0"),
        ({"split__val": 0.5}, "`split.val` is 0.5"),
        ({"loss": "hinge"}, "`loss` is 'hinge': input should be 'softmax', 'smoothed'"),
        ({"decoding": "median"}, "`decoding` is 'median'"),
        ({"precision": "fp8"}, "`precision` is 'fp8'"),
        ({"batch_size": 1}, "`batch_size` is 1"),
        ({"head_lr": 0}, "`head_lr` is 0"),
        ({"layer_decay": 1.5}, "`layer_decay` is 1.5"),
        ({"warmup": 1}, "`warmup` is 1"),
        ({"ema_decay": 1}, "`ema_decay` is 1: input should be less than 1"),
        ({"augment__crop": 0}, "`augment.crop` is 0"),
        ({"augment": {"crop": 0.5}}, "`augment.colour` is missing"),
        ({"eval__together": "place"}, "`eval.together` is 'place'"),
        ({"sampling__photos": -1}, "`sampling.photos` is -1"),
        (
            {"sampling__region": [1, 2, 3]},
            "`sampling.region` is [1, 2, 3]: input should be",
        ),
        ({"sampling__region": [1, 2, 3, "4"]}, "`sampling.region` is [1, 2, 3, '4']: input should"),
        ({"sampling__region": 42}, "`sampling.region` is 42: input should be 'world', [west, "),
        ({"eval__region_level": 31}, "`eval.region_level` is 31"),
        ({"flickr__uploaded_from": "soon"}, "`flickr.uploaded_from` is 'soon'"),
        ({"cells": [1]}, "`cells` is"),
    ],
)
def test_a_wrong_parameter_is_named_in_one_sentence(tmp_path, changes, sentence):
    path = params(tmp_path, **changes)
    with pytest.raises(InputError) as error:
        read_params(path)
    assert str(error.value).startswith(f"{path}: {sentence}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "is not here"), ("a: [1", "is not valid YAML at line"), ("", "holds no parameters")],
)
def test_a_params_file_that_is_none_says_so(tmp_path, text, sentence):
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_params(path)
