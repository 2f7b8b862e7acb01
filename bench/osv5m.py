"""How long a made-up OSV-5M takes to list, how much memory that needs, and what a photo costs.

python bench/osv5m.py --rows 500000 --zips 10 [--there 1.0]
"""

import argparse
import resource
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from nogps.acquire.sources.folder import Folder

COLUMNS = (
    "id,latitude,longitude,thumb_original_url,country,sequence,captured_at,lon_bin,lat_bin,cell,"
    "region,sub-region,city,land_cover,road_index,drive_side,climate,soil,dist_sea,quadtree,"
    "unique_region,unique_city,creator_username,creator_id"
)
PICTURE = bytes(range(256)) * 200  # 51 kB, as a picture of that set


def main() -> None:
    """Make it, list it, read it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--zips", type=int, default=10)
    parser.add_argument("--there", type=float, default=1.0, help="share of rows with a picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        table = make(Path(scratch), options)
        print(f"{table.stat().st_size / 1e6:,.0f} MB of table, {options.zips} zips")
        before = peak_mb()
        started, worked = time.perf_counter(), time.process_time()
        folder = Folder(table)
        count = 0
        for candidate in folder.candidates():
            count += 1
            if count % (options.rows // 500) == 0:
                last = candidate
        took, worked = time.perf_counter() - started, time.process_time() - worked
        print(
            f"{count:,} candidates in {took:.1f} s ({worked:.1f} s of work); "
            f"peak {before:.0f} -> {peak_mb():.0f} MB"
        )
        started = time.perf_counter()
        for _ in range(500):
            folder.read(last.url)
        print(f"a picture is read in {(time.perf_counter() - started) / 500 * 1e3:.2f} ms")


def make(root: Path, options: argparse.Namespace) -> Path:
    """A train.csv with so many rows, and zips with the pictures of a share of them."""
    rng = np.random.default_rng(0)
    ids = np.unique(rng.integers(10**14, 10**16, options.rows))
    rng.shuffle(ids)
    (root / "images/train").mkdir(parents=True)
    places = rng.uniform(-60, 60, (len(ids), 2))
    with (root / "train.csv").open("w") as table:
        table.write(COLUMNS + "\n")
        for number, (latitude, longitude) in zip(ids, places, strict=True):
            table.write(
                f"{number},{latitude:.12f},{longitude:.12f},{'https://example.org/' + 'x' * 250},"
                f'NA,sequence-{number},1667558866000,8,"(0, 8)",x,Region,Sub Region,City,4,4.66,1,'
                f"15,3,9.9,12345,Unique Region,Unique City,roadroid{number % 9999},"
                f"{10**14 + number % 9999}.0\n"
            )
    there = ids[: int(options.there * len(ids))]
    for k, part in enumerate(np.array_split(there, options.zips)):
        with zipfile.ZipFile(root / f"images/train/{k:02d}.zip", "w") as pictures:
            for each, number in enumerate(part):
                # All with a picture would not fit on every disk; what is listed is the same.
                pictures.writestr(f"{k:02d}/{number}.jpg", PICTURE if each % 1000 == 0 else b"x")
    return root / "train.csv"


def peak_mb() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
