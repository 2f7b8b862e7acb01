import json

import numpy as np
import pytest

from nogps.base.errors import InputError
from nogps.cli import main
from nogps.evaluate import protocol
from nogps.pipeline import benchmarks, results
from nogps.report.table import results_table


def measured(name: str, *km: float) -> protocol.Row:
    distance = np.array(km)
    return protocol.row(name, distance, right_class=distance < 100)


@pytest.fixture
def rows(tmp_path, monkeypatch) -> list[protocol.Row]:
    """metrics/ of a run, and the rows of its test fold."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics").mkdir()
    rows = [measured("model", 0.5, 30, 800), measured("chance", 9000, np.nan, 10)]
    figures = {row.name: row.to_json() for row in rows}
    (tmp_path / "metrics/eval.json").write_text(json.dumps({"test": figures, "im2gps": figures}))
    (tmp_path / "metrics/cells.json").write_text('{"classes": 12}')
    return rows


def test_the_tables_are_those_that_were_measured(rows, capsys):
    results.main()
    out = capsys.readouterr().out
    assert out.count(results_table(rows)) == 2
    assert "test fold, percent of photos" in out and "im2gps, percent of photos" in out
    assert "right one of the two" not in out
    assert out.endswith("metrics/report.html\n")


def test_of_two_classes_it_says_how_many_are_right(rows, capsys, tmp_path):
    (tmp_path / "metrics/cells.json").write_text('{"classes": 2}')
    results.main()
    assert "two classes, percent: model 66.7, chance 33.3" in capsys.readouterr().out


def test_without_a_run_it_says_what_to_do(rows, tmp_path):
    (tmp_path / "metrics/eval.json").unlink()
    with pytest.raises(
        SystemExit, match=r"nogps: metrics/eval.json is not there; `dvc repro` makes"
    ):
        main.main(["results"])


@pytest.mark.parametrize("paths", [["a/im2gps", "b/im2gps.zip"], ["a/test"], ["val.csv", "c"]])
def test_benchmarks_have_names_of_their_own(paths, tmp_path):
    with pytest.raises(InputError, match=r"^eval.benchmarks: each folder or file needs a name"):
        benchmarks.named([tmp_path / path for path in paths])


def test_what_is_wrong_with_a_benchmark_is_told_of_its_parameter(tmp_path):
    with pytest.raises(InputError, match=rf"^eval.benchmarks: {tmp_path / 'none'} is not a dir"):
        benchmarks.read_folder(tmp_path / "none", tmp_path, 64, "eval.benchmarks: ")
    with pytest.raises(InputError, match=rf"^{tmp_path / 'none'} is not a directory"):
        benchmarks.read_folder(tmp_path / "none", tmp_path, 64)
