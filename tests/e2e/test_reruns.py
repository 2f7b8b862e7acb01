"""What runs again after an edit or with another parameter, by real DVC and stages of straw."""

import re
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from tests.project import Project, make_project

STAGES = ["sample", "download", "pack", "split", "cells", "train", "eval", "report"]
STRAW = """\
# Writes what dvc.yaml says that a stage writes, always the same: sh stages.sh src/NAME.py
case $1 in
{cases}
esac
"""


def case(name: str, stage: dict) -> str:
    """The shell's lines that write the outs of a stage."""
    lines = [f"src/{name}.py)"]
    for kind in ("outs", "metrics", "plots"):
        for path in (next(iter(each)) for each in stage.get(kind, [])):
            if "." not in Path(path).name:  # a folder
                lines += [f"  mkdir -p {path}", f"  echo {name} > {path}/index.parquet"]
            else:
                text = "{}" if path.endswith(".json") else name
                lines += [f"  mkdir -p {Path(path).parent}", f"  echo '{text}' > {path}"]
    return "\n".join([*lines, "  ;;"])


@pytest.fixture(scope="module")
def straw(tmp_path_factory) -> Project:
    """A clone whose stages write something at once; they have run."""
    root = tmp_path_factory.mktemp("straw") / "clone"
    project = make_project(root, launch="sh stages.sh")
    path = root / "dvc.yaml"
    text = path.read_text()
    path.write_text(text.replace("cmd: python ", "cmd: sh stages.sh "))
    cases = [case(*each) for each in yaml.safe_load(text)["stages"].items()]
    (root / "stages.sh").write_text(STRAW.format(cases="\n".join(cases)))
    (root / "data/folder").mkdir(parents=True, exist_ok=True)
    assert ran(project.dvc("repro")) == STAGES
    project.commit("it ran")
    return project


@pytest.fixture
def project(straw, tmp_path) -> Project:
    return straw.copy(tmp_path / "clone")


def ran(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def stale(project: Project) -> list[str]:
    """The stages that `dvc status` calls out of date, in order."""
    with Repo(str(project.root)) as repo:
        found = {address.rsplit(":", 1)[-1] for address in repo.status()}
    return sorted(found, key=STAGES.index)


TRAINING = ["train", "eval", "report"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/nogps/model/tensors.py", TRAINING),  # augmentations
        ("src/nogps/model/classes.py", ["cells", *TRAINING]),
        ("src/nogps/train/run.py", ["train"]),
        ("src/nogps/pipeline/training.py", ["train"]),
        ("src/nogps/report/report_page.html", ["report"]),
        ("src/nogps/report/report_page.js", ["report"]),
        ("src/nogps/report/svg.py", ["report"]),  # how the coast is drawn
        ("src/nogps/evaluate/measure.py", ["eval"]),
        ("src/nogps/evaluate/protocol.py", ["eval", "report"]),
        ("src/sample.py", ["sample"]),
        ("src/nogps/acquire/sources/flickr.py", ["sample", "download"]),
        ("src/nogps/acquire/sources/folder.py", ["sample", "download"]),
        ("src/nogps/acquire/http.py", ["sample", "download"]),
        ("src/planet/picture.py", ["sample", "download"]),
        ("src/nogps/earth/coast.py", ["sample", "split", "cells", *TRAINING]),
        ("src/nogps/photos/exif.py", ["sample", "download", "pack", *TRAINING]),
        ("src/nogps/photos/panorama.py", ["download", "pack", *TRAINING]),
        ("src/nogps/photos/shards.py", ["download", "pack", "split", "cells", *TRAINING]),
        ("src/nogps/dataset/packing.py", ["pack", "eval"]),
        ("src/nogps/dataset/folds.py", ["split"]),
        ("src/nogps/dataset/cells.py", ["cells"]),
        ("src/nogps/dataset/tables.py", ["split", "cells", "train", "eval"]),
        ("src/nogps/base/files.py", []),
        ("src/nogps/pipeline/params.py", []),
        ("src/nogps/pipeline/site.py", []),
        ("src/nogps/cli/main.py", []),
        ("src/cells.py", ["cells"]),
        ("web/answer.js", []),
        ("data/exclude.txt", ["sample"]),
    ],
)
def test_an_edit_runs_what_depends_on_it_and_nothing_else(straw, path, expected):
    file = straw.root / path
    before = file.read_bytes()
    file.write_bytes(before + b"\n")
    try:
        assert stale(straw) == expected
    finally:
        file.write_bytes(before)


def test_what_is_stale_is_what_runs(project):
    assert ran(project.dvc("repro")) == []
    path = project.root / "src/nogps/model/tensors.py"
    path.write_text(path.read_text() + "\n")
    assert ran(project.dvc("repro")) == TRAINING
    path = project.root / "src/nogps/report/report_page.html"
    path.write_text(path.read_text() + "\n")
    assert ran(project.dvc("repro")) == ["report"]
    assert ran(project.dvc("repro")) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"flickr.size_suffix": "l"}, ["sample"]),
        ({"streetview.side": 320}, ["sample", "download"]),
        ({"panoramax.quality": "hd"}, ["sample"]),
        ({"lr": 0.1}, ["train"]),
        ({"augment.crop": 0.9}, ["train"]),
        ({"seed": 5}, ["sample", "download", "split", "train", "eval"]),
        ({"weights": "imagenet"}, TRAINING),
        ({"image_size": 96}, ["pack", "train"]),
        ({"workers": 7, "usd_per_hour": 2.0}, []),
        ({"push_to": "nowhere"}, []),
    ],
)
def test_a_parameter_runs_the_stages_that_name_it(straw, changes, expected):
    file = straw.root / "params.yaml"
    before = file.read_bytes()
    straw.set(**changes)
    try:
        assert stale(straw) == expected
    finally:
        file.write_bytes(before)


def test_each_change_of_a_picture_s_size_is_a_run_of_its_own(project):
    """DVC would find an earlier run for it, were the parameter called `size`."""
    for changes in (
        {"flickr.size_suffix": "l"},
        {"streetview.side": 320},
        {"panoramax.quality": "hd"},
    ):
        project.set(**changes)
        assert ran(project.dvc("repro", "sample")) == ["sample"], changes
    project.set(**{"flickr.size_suffix": "z", "streetview.side": 640, "panoramax.quality": "sd"})
    output = project.dvc("repro", "sample")
    assert ran(output) == [] and "is cached" in output  # that one did run before


def test_recipes_go_together_on_the_command_line(project):
    command = "dvc exp run $(cat recipes/photos) $(cat recipes/two_classes) -S lr=0.01"
    assert ran(project.run("bash", "-c", command).stdout)[:2] == ["pack", "cells"]
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    assert (params["backbone"], params["partition"]) == ("mobilenet_v3_large", "north_south")
    assert (params["lr"], params["cells"]["max_photos"]) == (0.01, 12)
