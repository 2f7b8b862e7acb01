"""100,000 photos through hosts that misbehave, by a process that is killed three times.

    python bench/faults.py [--photos 100000] [--share 0.02]

Says whether every candidate ended in one status, whether anything that had been stored was asked
for again (the host's own log is the judge), and how much memory the download took.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from nogps.acquire.answers import AnswerCache
from nogps.acquire.download import gather
from nogps.acquire.http import Polite
from nogps.acquire.ledger import unfetched
from nogps.acquire.sources.flickr import Flickr
from nogps.acquire.sources.flickr_api import Api
from nogps.pipeline.params import read_params
from nogps.pipeline.planet_process import running_planet
from planet.faults import FAULTS
from planet.flickr import IMAGE_HOST
from planet.photos import photos

ROOT = Path(__file__).parents[1]

API = ("api_", "grey")  # kinds that picture hosts of Flickr do not have


def main() -> None:
    """Run the bench, or one of the downloads that it kills."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--share", type=float, default=0.02, help="of the requests, by each fault")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--download", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.download:
        download(*arguments.download)
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure(arguments, Path(folder))


def download(base: str, folder: str) -> None:
    """What is killed: the stage's own code, with short waits."""
    here = Path(folder)
    source = Flickr(
        Api("key", "secret"), read_params().flickr, AnswerCache(here / "answers.sqlite")
    )
    http = Polite(connections=32, unit_s=0.02, timeout_s=2.0, base=base)
    candidates = pd.read_parquet(here / "candidates.parquet")
    gather(candidates, source, here / "scratch", here / "photos", http=http, min_side=64)


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Kill, start again, and judge."""
    rng = random.Random(arguments.seed)
    candidates = candidate_table(arguments.photos)
    candidates.to_parquet(folder / "candidates.parquet")
    urls = candidates["url"].tolist()
    faults = {kind: arguments.share for kind in FAULTS if not kind.startswith(API)}
    log = folder / "log.jsonl"
    began = time.monotonic()
    with running_planet(0, arguments.photos, faults=faults, log=log, distinct=200) as planet:
        kills = sorted(rng.uniform(0.1, 0.9) for _ in range(3))
        asked_again, peak, samples = set(), 0.0, []
        stored: set[str] = set()
        for kill in [*kills, None]:
            offset = log.stat().st_size if log.exists() else 0
            process = start(planet.base, folder)
            while process.poll() is None:
                time.sleep(0.5)
                memory = resident_mb(process.pid)
                peak, done = max(peak, memory), answered(folder)
                samples.append((done, memory))
                if kill is not None and done >= kill * len(urls):
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    break
            asked_again |= stored & asked(log, offset)
            if kill is not None:
                stored = stored_urls(urls, folder)
                print(f"killed with {len(stored):,} of {len(urls):,} settled", flush=True)
    seconds = time.monotonic() - began
    report(candidates, folder, log, faults, asked_again, peak, samples, seconds)


def start(base: str, folder: Path) -> subprocess.Popen:
    """A download in a process of its own."""
    command = [sys.executable, __file__, "--download", base, str(folder)]
    return subprocess.Popen(command, stderr=(folder / "progress.log").open("a"))


def candidate_table(count: int) -> pd.DataFrame:
    """Every photo of a planet, as the source `flickr` would list it."""
    planet = photos(0, count)
    urls = [f"{IMAGE_HOST}/{each.server}/{each.photo_id}_{each.secret}_n.jpg" for each in planet]
    return pd.DataFrame(
        {
            "photo_id": [each.photo_id for each in planet],
            "url": urls,
            "owner": [each.owner for each in planet],
        }
    )


def answered(folder: Path) -> int:
    """How many photos the progress bar of the running download counts."""
    text = (folder / "progress.log").read_bytes()[-400:].decode(errors="replace")
    counts = [word.split("/")[0] for word in text.replace("|", " ").split() if "/" in word]
    counts = [int(word) for word in counts if word.isdigit()]
    return counts[-1] if counts else 0


def resident_mb(pid: int) -> float:
    """Memory that a process holds now."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def asked(log: Path, offset: int) -> set[str]:
    """Paths that the host was asked for since its log was so long."""
    with log.open() as lines:
        lines.seek(offset)
        return {json.loads(line)["path"] for line in lines if line.endswith("\n")}


def stored_urls(urls: list[str], folder: Path) -> set[str]:
    """Paths of the URLs whose matter is settled on the disk."""
    missing = set(unfetched(urls, folder / "scratch"))
    return {url.removeprefix(IMAGE_HOST) for url in urls if url not in missing}


def report(candidates, folder, log, faults, asked_again, peak, samples, seconds) -> None:
    """Print what came out."""
    index = pd.read_parquet(folder / "photos/index.parquet")
    counts = index["status"].value_counts().to_dict()
    served, hit = Counter(), Counter()
    with log.open() as lines:
        for line in lines:
            entry = json.loads(line)
            hit[entry["fault"]] += 1
            if entry["status"] == 200 and not entry["fault"]:
                served[entry["path"]] += 1
    on_disk = sum(path.stat().st_size for path in (folder / "scratch").rglob("*"))
    photos_bytes = int(index.loc[index["shard"] != "", "size"].sum())
    print(f"{len(candidates):,} candidates, {seconds:.0f} s, faults {faults}")
    print(f"statuses: {counts}, in all {sum(counts.values()):,}")
    print(f"same candidates, in order: {(index['photo_id'] == candidates['photo_id']).all()}")
    print(f"faults that struck: {dict(hit)}")
    print(f"settled before a kill and asked for again: {len(asked_again)}")
    print(f"served whole more than once: {sum(count > 1 for count in served.values())}")
    print(f"disk over photos: {on_disk / photos_bytes:.3f}")
    print(f"peak memory: {peak:.0f} MB")
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        near = [memory for done, memory in samples if done <= share * len(candidates)]
        print(f"  most up to {share:4.0%}: {max(near):.0f} MB")


if __name__ == "__main__":
    main()
