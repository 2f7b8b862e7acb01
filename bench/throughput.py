"""Photos a second, side by side with img2dataset: the same URLs, host and connections.

    python bench/throughput.py --img2dataset /path/to/venv/bin/python [--photos 20000]

img2dataset does not live in our environment: install it into one of its own. Both check that a
photo decodes, hash it, and write the original bytes into tars of 1,000. Runs alternate.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from faults import candidate_table

from nogps.acquire.answers import AnswerCache
from nogps.acquire.download import gather
from nogps.acquire.http import Polite
from nogps.acquire.sources.flickr import Flickr
from nogps.acquire.sources.flickr_api import Api
from nogps.pipeline.params import read_params
from nogps.pipeline.planet_process import running_planet
from planet.flickr import IMAGE_HOST

ROOT = Path(__file__).parents[1]

THEIRS = """
import sys
from img2dataset import download
base, urls, folder, connections, decodes = sys.argv[1:]
download(
    url_list=urls, input_format="parquet", url_col="url", output_folder=folder,
    output_format="webdataset", number_sample_per_shard=1000, processes_count=2,
    thread_count=int(connections) // 2, resize_mode="no", compute_hash="sha256",
    disable_all_reencoding=decodes == "no", enable_wandb=False, retries=3, timeout=10,
)
"""
OURS = "import sys, throughput; throughput.download(*sys.argv[1:])"


def main() -> None:
    """Time both, three times each, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--img2dataset", required=True, help="a Python that has img2dataset")
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_planet(0, arguments.photos, distinct=200) as planet,
    ):
        here = Path(folder)
        candidates = candidate_table(arguments.photos)
        candidates.to_parquet(here / "candidates.parquet")
        there = candidates["url"].str.replace(IMAGE_HOST, planet.base, regex=False)
        pd.DataFrame({"url": there}).to_parquet(here / "urls.parquet")
        connections = str(arguments.connections)
        commands = {
            "nogps": [sys.executable, "-c", OURS, planet.base, folder, connections],
            "img2dataset": [
                *(arguments.img2dataset, "-c", THEIRS, planet.base),
                *(str(here / "urls.parquet"), str(here / "theirs"), connections, "yes"),
            ],
            "img2dataset, photos not decoded": [
                *(arguments.img2dataset, "-c", THEIRS, planet.base),
                *(str(here / "urls.parquet"), str(here / "theirs"), connections, "no"),
            ],
        }
        best: dict[str, float] = {}
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                for out in ("scratch", "photos", "theirs"):
                    shutil.rmtree(here / out, ignore_errors=True)
                began = time.monotonic()
                subprocess.run(
                    command, check=True, cwd=ROOT / "bench", capture_output=True, text=True
                )
                seconds = time.monotonic() - began
                best[name] = min(seconds, best.get(name, seconds))
                print(f"{name:32} {arguments.photos / seconds:7.0f} photos/s", flush=True)
        for name, seconds in best.items():
            rate, ratio = arguments.photos / seconds, seconds / best["nogps"]
            print(f"best: {name:32} {rate:7.0f} photos/s, {ratio:.2f} times as long as ours")


def download(base: str, folder: str, connections: str) -> None:
    """Ours: what the stage calls, in a process of its own as theirs is."""
    here = Path(folder)
    source = Flickr(
        Api("key", "secret"), read_params().flickr, AnswerCache(here / "answers.sqlite")
    )
    http = Polite(connections=int(connections), base=base)
    candidates = pd.read_parquet(here / "candidates.parquet")
    index = gather(candidates, source, here / "scratch", here / "photos", http=http, min_side=64)
    assert not (index["status"] == "failed").any()


if __name__ == "__main__":
    main()
