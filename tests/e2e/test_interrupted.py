"""Stages that are stopped, or find the disk full, at any moment."""

import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.project import Project, environment, make_project
from tests.stages import STAGES


@pytest.fixture(scope="module")
def planet_project(tmp_path_factory) -> Project:
    """A clone that has run on the simulated planet, at a size that takes each stage a while."""
    project = make_project(tmp_path_factory.mktemp("planet") / "clone", epochs=1)
    for name in STAGES:
        began = time.monotonic()
        project.stage(name)
        project.seconds[name] = time.monotonic() - began
    return project


def outs(project: Project) -> dict[str, bytes]:
    paths = sorted(project.root.glob("data/**/*")) + sorted(project.root.glob("models/*"))
    return {
        str(path.relative_to(project.root)): path.read_bytes()
        for path in paths
        if path.is_file() and ".fetched" not in path.parts and not path.name.startswith(".")
    }


def begun(project: Project, name: str) -> subprocess.Popen:
    """A stage that runs, in a process group of its own, as a terminal gives it."""
    return subprocess.Popen(
        [sys.executable, f"src/{name}.py"],
        cwd=project.root,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.mark.parametrize("name", STAGES)
def test_ctrl_c_at_any_stage_corrupts_nothing_and_the_next_run_goes_on(
    planet_project, tmp_path, name
):
    """Interrupted at several moments of its life, then run again: the outs are the same."""
    project = planet_project.copy(tmp_path / "clone")
    expected = outs(project)
    for share in (0.5, 0.9):
        if name in ("sample", "download"):  # else it has all there is
            shutil.rmtree(project.root / "data/.fetched", ignore_errors=True)
        running = begun(project, name)
        time.sleep(share * planet_project.seconds[name])
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to the children as well
        try:
            output, _ = running.communicate(timeout=20)
        except subprocess.TimeoutExpired:  # Python drops one that comes as an import ends
            os.killpg(running.pid, signal.SIGINT)
            output, _ = running.communicate(timeout=60)
        assert running.returncode in (0, 1, 130, -signal.SIGINT), output
        if running.returncode == 130:
            assert f"{name}: stopped" in output
            assert "Traceback" not in output
        parts = [path for path in project.root.rglob("*.part") if ".fetched" not in path.parts]
        assert parts == []
    project.stage(name)
    after = outs(project)
    assert after.keys() == expected.keys()
    same = [key for key in expected if not key.startswith(("models", "data/predictions"))]
    assert [key for key in same if after[key] != expected[key]] == []


def test_ctrl_c_reaches_the_planet_by_way_of_its_stage(planet_project, tmp_path):
    """It would answer with a traceback of its own, were it hit while it starts."""
    project = planet_project.copy(tmp_path / "clone")
    running = begun(project, "sample")
    planet = []
    while not planet and running.poll() is None:
        planet = psutil.Process(running.pid).children()
    while "planet" not in planet[0].cmdline():  # until it is Python, it is a copy of us
        time.sleep(0.001)
    assert os.getpgid(planet[0].pid) == planet[0].pid
    os.killpg(running.pid, signal.SIGINT)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 130, output
    assert output.strip() == "sample: stopped; the same command goes on from here"
    planet[0].wait(timeout=60)


@pytest.mark.parametrize("name", STAGES)
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(planet_project, tmp_path, name):
    """On a file system of its own, filled to the last block."""
    mounted = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*mounted, "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system of their own")
    project = planet_project.copy(tmp_path / "clone")
    expected = outs(project)
    script = f"""
        set -e
        mount -t tmpfs -o size=64m tmpfs {tmp_path}/clone/../disk
        cp -a {project.root}/. {tmp_path}/disk/
        cd {tmp_path}/disk
        rm -rf data/.fetched models/.checkpoint.pt
        dd if=/dev/zero of=filler bs=4k 2>/dev/null || true
        status=0
        {sys.executable} src/{name}.py || status=$?
        rm filler
        cp -a data models {tmp_path}/after/
        exit $status
    """
    for folder in ("disk", "after"):
        (tmp_path / folder).mkdir()
    done = subprocess.run(
        [*mounted, "bash", "-c", script],
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    assert f"{name}: the disk is full" in done.stdout
    after = outs(Project(tmp_path / "after"))
    assert {key: after[key] for key in expected if key in after} == {
        key: expected[key] for key in expected if key in after
    }
    assert set(after) >= set(expected) - {key for key in expected if key.startswith(f"data/{name}")}
