"""What dvc.yaml says that a stage depends on, against what its code imports."""

import ast
import re
from pathlib import Path

import grimp
import pytest
import yaml

from nogps.acquire.sources import SOURCES
from nogps.pipeline.params import Machine, Params, stages_by_parameter
from tests.project import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# Code that no out depends on, and why.
HARMLESS = {
    "nogps": "what the library offers at its door, and its version",
    "nogps.base": "how files are written and how errors are told",
    "nogps.pipeline.params": "how parameters are checked; a stage depends on their values",
    "nogps.pipeline.paths": "where outs lie, which dvc.yaml names",
    "nogps.pipeline.run": "how a stage begins and ends",
    "nogps.pipeline.planet_process": "how the planet is started; what it answers is src/planet",
    "nogps.dataset.settings": "what the parameters of the data set may be",
    "nogps.photos.status": "words that stand in the tables on which a stage depends",
}
HARMLESS_FOR = {
    "sample": {"nogps.photos.shards": "how photos are kept that were fetched"},
    "download": {"nogps.earth": "which photos there are; data/candidates.parquet says that"},
    "eval": {
        "nogps.acquire": "how the photos of a benchmark are found and read, and these are not "
        "watched either: `dvc repro -f -s eval`",
        "nogps.rights": "what a licence is called, in what is printed",
        "nogps.report.table": "what is printed",
    },
}


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    graph = grimp.build_graph("nogps", exclude_type_checking_imports=True)
    # It takes the names of their sections from all of the library, and none of the rest.
    for module in graph.find_modules_directly_imported_by("nogps.pipeline.params"):
        graph.remove_import(importer="nogps.pipeline.params", imported=module)
    for module in SOURCES.values():  # imported when one is asked for
        graph.add_import(importer="nogps.acquire.sources", imported=module)
    return graph


def imported(script: Path, graph: grimp.ImportGraph) -> set[str]:
    """Modules of ours that a script imports, directly or through others."""
    found = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("nogps"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in graph.modules else node.module)
    return found.union(*(graph.find_upstream_modules(module) for module in found))


def path_of(module: str) -> Path:
    path = ROOT / "src" / module.replace(".", "/")
    return path if path.is_dir() else path.with_suffix(".py")


def within(module: str, parent: str) -> bool:
    return module == parent or (parent != "nogps" and module.startswith(f"{parent}."))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_all_the_code_that_can_change_its_outs(name, imports):
    deps = [ROOT / dep for dep in STAGES[name]["deps"]]
    assert ROOT / f"src/{name}.py" in deps
    assert all(dep.exists() for dep in deps if "src" in dep.relative_to(ROOT).parts)
    harmless = HARMLESS | HARMLESS_FOR.get(name, {})
    for module in imported(ROOT / f"src/{name}.py", imports):
        if not any(within(module, each) for each in harmless):
            path = path_of(module)
            assert any(path == dep or dep in path.parents for dep in deps), module


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_no_code_that_it_does_not_run(name, imports):
    modules = imported(ROOT / f"src/{name}.py", imports)
    for dep in (ROOT / each for each in STAGES[name]["deps"] if each.startswith("src/nogps")):
        paths = [path_of(module) for module in modules]
        assert any(path == dep or dep in path.parents for path in paths), dep


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *((name, f"src/{name}.py") for name in STAGES),
        ("train", "src/nogps/pipeline/training.py"),
    ],
)
def test_a_stage_names_the_parameters_that_it_reads(name, path):
    stages = stages_by_parameter(ROOT / "dvc.yaml")
    read = set(re.findall(r"\bparams\.(\w+)", (ROOT / path).read_text()))
    for each in read & Params.model_fields.keys() - Machine.model_fields.keys():
        assert name in stages[each], f"{path} reads {each}"


def test_code_that_is_called_harmless_is_there_and_imported(imports):
    for module in HARMLESS:
        assert module in imports.modules
    for name, modules in HARMLESS_FOR.items():
        found = imported(ROOT / f"src/{name}.py", imports)
        for module in modules:
            assert any(within(each, module) for each in found), f"{name}: {module}"


def test_it_reads_as_a_table_of_contents():
    text = (ROOT / "dvc.yaml").read_text()
    assert text.count("\n") <= 130
    assert [line for line in text.splitlines() if len(line) > 100 and "params:" not in line] == []
    names = "sample download pack split cells train eval report"
    assert " ".join(STAGES) == names
    assert {path.stem for path in (ROOT / "src").glob("*.py")} == set(STAGES)
    assert all(stage["desc"] for stage in STAGES.values())
