"""Downloads as large as real ones: of more candidates than a chunk holds, and killed half-way."""

import os
import signal
import subprocess
import sys

import pandas as pd
import pytest

from nogps.acquire.download import gather
from nogps.acquire.http import Polite
from nogps.acquire.ledger import unfetched
from nogps.photos.status import Status
from tests.pictures import encoded, picture
from tests.project import ROOT
from tests.unit.acquire.test_download import Album, contents, listed, run, shards_index


@pytest.fixture(scope="module")
def bodies() -> dict[str, bytes]:
    base = encoded(picture(64, 64))
    return {f"u{each}": base + str(each).encode() for each in range(2500)}  # three blocks


def test_more_candidates_than_parquet_reads_in_one_chunk(bodies, tmp_path):
    """pandas reads a text column in chunks of 131,072, and a block of 1,000 crosses their edge."""
    urls = [f"u{each}" for each in range(140_000)]
    listed(urls).to_parquet(tmp_path / "candidates.parquet")
    candidates = pd.read_parquet(tmp_path / "candidates.parquet")
    around = set(urls[130_990:131_100])  # of the others, nothing is there
    album = Album({url: next(iter(bodies.values())) + url.encode() for url in around})
    folder = tmp_path / "out"
    index = gather(candidates, album, tmp_path / "scratch", folder, http=Polite(), min_side=32)
    assert index["photo_id"].tolist() == [f"id-{url}" for url in urls]
    assert set(index.loc[index["status"] == Status.OK, "url"]) == around
    assert shards_index(folder).equals(index)


@pytest.mark.parametrize("moment", [0.15, 0.5, 0.8])
def test_a_killed_run_goes_on_and_ends_the_same(bodies, tmp_path, moment):
    """SIGKILL, in a process of its own that says which photos it handed out."""
    program = f"""
import sys
from tests.unit.acquire.test_download import Album, encoded, picture, run
from pathlib import Path
base = encoded(picture(64, 64))
album = Album({{f"u{{each}}": base + str(each).encode() for each in range({len(bodies)})}})
fetch = album.fetch
async def told(url, http):
    fetched = await fetch(url, http)
    print(url, flush=True)
    return fetched
album.fetch = told
run(album.bodies, album, Path({str(tmp_path)!r}))
"""
    running = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
    )
    handed_out = [running.stdout.readline().strip() for _ in range(int(moment * len(bodies)))]
    running.send_signal(signal.SIGKILL)
    handed_out += running.stdout.read().split()
    running.wait()
    running.stdout.close()
    assert len(handed_out) < len(bodies)
    stored = len(bodies) - len(unfetched(list(bodies), tmp_path / "scratch"))
    assert len(handed_out) - 40 <= stored <= len(handed_out) + 1
    album, calm = Album(bodies), Album(bodies)
    run(bodies, album, tmp_path)
    assert album.asked.total() == len(bodies) - stored
    run(bodies, calm, tmp_path / "calm")
    assert contents(tmp_path / "out") == contents(tmp_path / "calm" / "out")
