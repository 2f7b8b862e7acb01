"""DVC on a set that grows."""

import hashlib
import json

import pandas as pd
import yaml

from tests.osv5m import osv, row, zipped
from tests.pictures import encoded, picture
from tests.project import make_project


def test_dvc_runs_on_a_part_of_osv5m(tmp_path):
    """Two zips of three; DVC sees the table alone, and a third zip when it is told to look."""
    root = tmp_path / "osv5m"
    pictures = {each: encoded(picture(96, 72, seed=each)) for each in range(1, 61)}
    parts = [{f"0{k}/{each}.jpg": pictures[each] for each in range(1 + k, 61, 3)} for k in range(3)]
    for number in (0, 1):
        zipped(root / f"images/train/0{number}.zip", parts[number])
    rows = [
        row(each, str(each / 2), str(each % 7 * 20), creator_id=f"{each % 11}.0")
        for each in reversed(range(1, 71))
    ]
    table = osv(root, rows)
    project = make_project(
        tmp_path / "clone",
        source="folder",
        folder__path=str(table),
        sampling__photos=0,
        download__min_side=32,
        split__test=0.25,
        split__val=0.2,
    )
    project.dvc("repro", "split")
    locked = yaml.safe_load((project.root / "dvc.lock").read_text())["stages"]["sample"]["deps"]
    assert [dep for dep in locked if "osv5m" in dep["path"]] == [
        {
            "path": str(table),
            "hash": "md5",
            "md5": hashlib.md5(table.read_bytes()).hexdigest(),
            "size": table.stat().st_size,
        }
    ]

    def rows_of(name: str) -> pd.DataFrame:
        return pd.read_parquet(project.root / f"data/{name}.parquet")

    metrics = json.loads((project.root / "metrics/sample.json").read_text())
    assert (metrics["candidates"], metrics["not_there"], metrics["not_listed"]) == (40, 30, 0)
    assert metrics["owners"] == 11
    index = rows_of("photos/index")
    assert index["photo_id"].tolist() == [str(each) for each in range(60, 0, -1) if each % 3]
    assert set(index["status"]) == {"ok"}
    assert index["sha256"].tolist() == [
        hashlib.sha256(pictures[int(each)]).hexdigest() for each in index["photo_id"]
    ]
    folds = rows_of("candidates").merge(rows_of("splits"), on="photo_id")
    assert len(folds) == 40 and folds.groupby("owner")["fold"].nunique().max() == 1
    zipped(root / "images/train/02.zip", parts[2])
    assert "didn't change" in project.dvc("repro", "split")
    project.dvc("repro", "-f", "-s", "sample")
    assert len(rows_of("candidates")) == 60
