"""What DVC takes for photos as shards and as loose files.

    python bench/shards.py [--photos 100000]

Makes the same photos twice, as one file each and as tars of 1,000, and times `dvc add`, a
`dvc status` that finds nothing to do, `dvc push` to a local remote, and `dvc checkout` after the
files were removed.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from nogps.photos.shards import (
    SHARD_SIZE,
    shard_name,
    write_shard,
)

ROOT = Path(__file__).parents[1]

SIZE = 2048  # bytes of a photo


def main() -> None:
    """Time both, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = {}
        for kind, make in (("shards", shards), ("loose", loose)):
            here = Path(folder) / kind
            (here / "photos").mkdir(parents=True)
            make(here / "photos", arguments.photos)
            times[kind] = timed(here)
            shutil.rmtree(here)
    print(f"{arguments.photos:,} photos of {SIZE} bytes")
    print(f"{'':10}{'loose files':>14}{'shards':>10}{'ratio':>8}")
    for name in times["shards"]:
        slow, fast = times["loose"][name], times["shards"][name]
        print(f"{name:10}{slow:12.1f} s{fast:8.2f} s{slow / fast:8.1f}")


def photo(number: int) -> bytes:
    """Bytes that do not compress and are like no others."""
    return number.to_bytes(8, "big") * (SIZE // 8)


def shards(folder: Path, count: int) -> None:
    """As download writes them."""
    for shard, start in enumerate(range(0, count, SHARD_SIZE)):
        numbers = range(start, min(count, start + SHARD_SIZE))
        members = ((f"{number:08d}.jpg", photo(number)) for number in numbers)
        write_shard(folder / shard_name(shard), members)


def loose(folder: Path, count: int) -> None:
    """One file each."""
    for number in range(count):
        (folder / f"{number:08d}.jpg").write_bytes(photo(number))


def timed(here: Path) -> dict[str, float]:
    """Seconds of each command, in a repository of its own with our settings."""

    def run(*command: str) -> float:
        began = time.monotonic()
        environment = {**os.environ, "DVC_SITE_CACHE_DIR": str(here / "site")}
        subprocess.run(command, cwd=here, check=True, capture_output=True, env=environment)
        return time.monotonic() - began

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    shutil.copy(ROOT / ".dvc/config", here / ".dvc/config")
    run("dvc", "remote", "add", "-d", "shelf", str(here.parent / f"{here.name}-shelf"))
    times = {"add": run("dvc", "add", "photos")}
    run("dvc", "status")
    times["status"] = run("dvc", "status")
    times["push"] = run("dvc", "push")
    shutil.rmtree(here / "photos")
    times["checkout"] = run("dvc", "checkout")
    return times


if __name__ == "__main__":
    main()
