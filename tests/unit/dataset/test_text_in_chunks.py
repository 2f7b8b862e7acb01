"""Tables whose text columns come in several chunks, as pandas reads large parquet files."""

import asyncio

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nogps.acquire.candidate import Fetched
from nogps.acquire.download import gather
from nogps.acquire.http import Polite
from nogps.dataset import folds, tables
from nogps.dataset.cells import adaptive
from nogps.dataset.packing import Photo, pack, photos_of
from nogps.dataset.settings import Cells
from nogps.model.decode import places_of
from nogps.photos import images, panorama, shards
from nogps.photos.status import Status
from nogps.rights import credits, licences
from tests.pictures import encoded, picture

COUNT, BLOCK = 150, 40  # candidates; of a block
CHUNKS = (7, 64, 40)  # rows; blocks cross the edges of those of 7 and 64
BODIES = {f"u{each}": encoded(picture(48, 40)) + str(each).encode() for each in range(COUNT)}


class Album:
    """A source in memory."""

    async def fetch(self, url: str, http: Polite) -> Fetched:
        await asyncio.sleep(0)
        return Fetched(Status.OK, BODIES[url]) if url != "u13" else Fetched(Status.GONE)


def candidates() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    numbers = range(COUNT)
    return pd.DataFrame(
        {
            "photo_id": [f"id{each}" for each in numbers],
            "source": "test",
            "latitude": rng.uniform(40, 50, COUNT),
            "longitude": rng.uniform(0, 10, COUNT),
            "owner": [f"owner {each // 3}" if each % 10 else "" for each in numbers],
            "url": [f"u{each}" for each in numbers],
            "heading": np.nan,
            "field_of_view": np.nan,
            "licence": [("CC BY 4.0", "CC0", "", "CC BY-SA 4.0")[each % 4] for each in numbers],
            "page_url": [f"https://example.org/{each}" if each % 7 else "" for each in numbers],
            "author": [f"author {each}" if each % 5 else "" for each in numbers],
            "title": [f"title {each}" if each % 6 else "" for each in numbers],
            "sequence": [f"drive {each // 4}" if each % 3 else "" for each in numbers],
        }
    )


def in_chunks(table: pd.DataFrame, rows: int) -> pd.DataFrame:
    """The same table, its columns in chunks of so many rows."""
    parts = [table.iloc[start : start + rows] for start in range(0, len(table), rows)]
    chunked = pd.concat(parts)
    assert chunked.equals(table)
    if rows < len(table):
        assert pa.Table.from_pandas(chunked).column("photo_id").num_chunks > 1
    return chunked


def written(table: pd.DataFrame, path, rows: int) -> pd.DataFrame:
    """The table, written in row groups of so many rows and read again."""
    table.to_parquet(path, index=False, row_group_size=rows)
    return pd.read_parquet(path)


def fetched(table: pd.DataFrame, folder) -> tuple[pd.DataFrame, dict[str, bytes]]:
    index = gather(table, Album(), folder / "scratch", folder / "out", http=Polite(), min_side=32)
    return index, {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


@pytest.mark.parametrize("rows", CHUNKS)
def test_gathering_credits_and_licences_do_not_see_chunks(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_SIZE", BLOCK)
    whole = candidates()
    for chunked in (in_chunks(whole, rows), written(whole, tmp_path / "candidates.parquet", rows)):
        index, files = fetched(chunked, tmp_path / "chunks")
        expected, expected_files = fetched(whole, tmp_path / "whole")
        assert index.equals(expected) and index["photo_id"].tolist() == whole["photo_id"].tolist()
        assert files == expected_files and len(files) == -(-COUNT // BLOCK) + 1
        credited = credits.table(chunked)
        assert credited.equals(credits.table(whole))
        assert credits.without_credit(credited) == credits.without_credit(credits.table(whole)) > 0
        assert licences.for_model(chunked) == licences.for_model(whole)
        assert licences.counted(chunked["licence"]) == licences.counted(whole["licence"])
        assert places_of(chunked["owner"]) == places_of(whole["owner"])
        credits.write(tmp_path / "chunks.csv", credited)
        credits.write(tmp_path / "whole.csv", credits.table(whole))
        assert (tmp_path / "chunks.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize("rows", CHUNKS)
def test_packing_folds_and_cells_do_not_see_chunks(rows, tmp_path):
    whole = candidates()
    chunked = written(whole, tmp_path / "candidates.parquet", rows)
    how = panorama.Settings(headings=4, fov=90, pitch=0)
    packed = images.pack(BODIES["u0"], 32)

    def one(table: pd.DataFrame, name: str) -> tuple[pd.DataFrame, np.ndarray, list]:
        made = photos_of(how, table)
        assert made("id3", BODIES["u3"], 32)[0].photo_id == "id3"
        ids = table["photo_id"].tolist()
        index = pack(
            ids, lambda key: BODIES[f"u{key[2:]}"], tmp_path / name, 32,
            lambda key, body, side: [Photo(key, packed)],
        )  # fmt: skip
        index["phash"] = [bytes([number % 50] * 32) for number in range(COUNT)]
        index = in_chunks(index, rows) if name == "chunks" else index
        photos = tables.with_candidates(index, table)
        bonds = folds.bonds(photos, place_level=8, near_duplicate_bits=-1)
        dealt = folds.assign(bonds, val=0.2, test=0.2, seed=0)
        assert set(folds.leaks(bonds, dealt).values()) == {0}
        train = photos[dealt == "train"]
        limits = Cells(min_photos=2, max_photos=20, min_level=2, max_level=8)
        classes = adaptive(train["latitude"], train["longitude"], limits)
        return photos, dealt, [classes.tokens, shards.byte_ranges(index)]

    photos, dealt, rest = one(chunked, "chunks")
    expected, expected_dealt, expected_rest = one(whole, "whole")
    assert photos.equals(expected)
    assert dealt.tolist() == expected_dealt.tolist()
    assert [list(each) for each in rest] == [list(each) for each in expected_rest]
