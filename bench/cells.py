"""Cell ids and cell partitions beside plain s2sphere, on one core.

    python bench/cells.py [POINTS.csv]

POINTS.csv has columns LAT and LON, in degrees; without it the points are drawn in clusters.
Measured, medians of several runs, both sides on the same points in the same run:

- leaf ids of 1,000,000 points: nogps.earth.s2.cell_ids against the loop over s2sphere (run once);
- PlaNet's partition of the points (the first 100,000): nogps.dataset.cells.adaptive against the
  recursion one would write with s2sphere, and whether both find the same cells and counts;
- adaptive on 1e5, 1e6 and 1e7 points, with each time over n log n relative to the first, and the
  peak of memory allocated beyond the input.

Larger sets are the same points drawn again, each moved by up to some 10 km.
"""

import argparse
import math
import time
import tracemalloc
from collections import defaultdict
from statistics import median

import numpy as np
import pandas as pd
from s2sphere import CellId, LatLng

from nogps.dataset.cells import adaptive
from nogps.dataset.settings import Cells
from nogps.earth.s2 import cell_ids

LIMITS = {"min_photos": 25, "max_photos": 500, "min_level": 6, "max_level": 23}


def s2sphere_leaves(latitude, longitude):
    """Leaf cells, one point at a time."""
    return [
        CellId.from_lat_lng(LatLng.from_degrees(lat, lng))
        for lat, lng in zip(latitude.tolist(), longitude.tolist(), strict=True)
    ]


def s2sphere_partition(latitude, longitude, *, min_photos, max_photos, min_level, max_level):
    """Photos of each cell by token, by recursion."""
    kept = {}

    def divide(leaves, level):
        groups = defaultdict(list)
        for leaf in leaves:
            groups[leaf.parent(level)].append(leaf)
        for cell, members in groups.items():
            if level < max_level and (len(members) > max_photos or level < min_level):
                divide(members, level + 1)
            elif len(members) >= min_photos:
                kept[cell.to_token()] = len(members)

    divide(s2sphere_leaves(latitude, longitude), 0)
    return kept


def clusters(count, rng):
    """Points around 500 towns, few of them large."""
    latitude, longitude = rng.uniform(-60, 70, 500), rng.uniform(-179, 179, 500)
    town = rng.zipf(1.3, 3 * count)
    town = town[town <= 500][:count] - 1
    spread = rng.uniform(0.01, 0.5, 500)[town]
    return (
        latitude[town] + spread * rng.normal(size=town.size),
        np.clip(longitude[town] + spread * rng.normal(size=town.size), -180, 180),
    )


def more(latitude, longitude, count, rng):
    """So many points spread as the given ones are."""
    drawn = rng.integers(0, latitude.size, count)
    return (
        np.clip(latitude[drawn] + rng.normal(0, 0.05, count), -90, 90),
        np.clip(longitude[drawn] + rng.normal(0, 0.05, count), -180, 180),
    )


def seconds(function, *args, runs, **kwargs):
    """Median wall-clock seconds of so many runs, and the result of the last."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = function(*args, **kwargs)
        times.append(time.perf_counter() - start)
    return median(times), result


def compare_ids(latitude, longitude):
    """Print the times of a million ids."""
    ours, ids = seconds(cell_ids, latitude, longitude, runs=9)
    theirs, leaves = seconds(s2sphere_leaves, latitude, longitude, runs=1)
    same = all(cell.id() == own for cell, own in zip(leaves, ids.tolist(), strict=True))
    print(f"ids of {latitude.size:,} points  (identical: {'yes' if same else 'no'})")
    print(f"  s2sphere    {theirs:8.3f} s")
    print(f"  nogps       {ours:8.3f} s   {theirs / ours:.0f} times as fast\n")


def compare_partitions(latitude, longitude):
    """Print the times of one partition."""
    ours, partition = seconds(adaptive, latitude, longitude, Cells(**LIMITS), runs=9)
    theirs, plain = seconds(s2sphere_partition, latitude, longitude, runs=3, **LIMITS)
    same = plain == dict(zip(partition.tokens.tolist(), partition.photos.tolist(), strict=True))
    print(f"partition of {latitude.size:,} points into {len(partition):,} classes")
    print(f"  s2sphere    {theirs:8.3f} s")
    print(f"  nogps       {ours:8.3f} s   {theirs / ours:.0f} times as fast")
    print(f"  identical cells: {'yes' if same else 'no'}\n")


def grow(latitude, longitude, rng):
    """Print how time and memory of a partition grow with the points."""
    print("partition of      classes     seconds   over n log n   peak bytes a point")
    first = None
    for count, runs in ((10**5, 9), (10**6, 5), (10**7, 3)):
        points = more(latitude, longitude, count, rng)
        took, partition = seconds(adaptive, *points, Cells(**LIMITS), runs=runs)
        first = first or took / (count * math.log(count))
        growth = took / (count * math.log(count)) / first
        tracemalloc.start()
        adaptive(*points, Cells(**LIMITS))
        peak = tracemalloc.get_traced_memory()[1] / count
        tracemalloc.stop()
        print(f"{count:>12,} {len(partition):>12,} {took:>11.3f} {growth:>14.2f} {peak:>20.0f}")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("points", nargs="?", metavar="POINTS.csv", help="with columns LAT and LON")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    if arguments.points:
        table = pd.read_csv(arguments.points)
        latitude, longitude = table["LAT"].to_numpy(float), table["LON"].to_numpy(float)
    else:
        latitude, longitude = clusters(100_000, rng)
    compare_ids(*more(latitude, longitude, 1_000_000, rng))
    compare_partitions(latitude[:100_000], longitude[:100_000])
    grow(latitude, longitude, rng)


if __name__ == "__main__":
    main()
