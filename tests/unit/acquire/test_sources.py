"""One suite for every source that has hosts: how it searches, fetches and keeps secrets."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from pathlib import Path

import pytest

from nogps.acquire import sources
from nogps.acquire.answers import AnswerCache
from nogps.acquire.area import Region
from nogps.acquire.area_search import Search
from nogps.acquire.budget import Budget
from nogps.acquire.candidate import Candidate, Status
from nogps.acquire.http import Polite
from nogps.acquire.limits import Limits
from nogps.acquire.service import SearchSpec
from nogps.acquire.source import Source
from nogps.acquire.sources import flickr, flickr_api, streetview
from nogps.acquire.sources.commons import Commons
from nogps.acquire.sources.flickr import Flickr
from nogps.acquire.sources.mapillary import Mapillary
from nogps.acquire.sources.panoramax import Panoramax
from nogps.acquire.sources.streetview import StreetView
from nogps.base.errors import InputError
from nogps.photos.images import checked_size
from nogps.pipeline.planet_process import Planet, running_planet
from nogps.rights import licences
from planet import commons, mapillary, panoramax
from planet.faults import FAULTS, MOST_IN_A_ROW, PERSISTENT, hits
from planet.keys import GOOGLE_KEY, KEY, MAPILLARY_TOKEN, SECRET, SIGNING_SECRET
from planet.photos import photos
from planet.server import serving
from tests.kept import damage_answers, kept_answers
from tests.servers import RESET, answering

SEED, PHOTOS = 0, 1500
SECRETS = (KEY, SECRET, GOOGLE_KEY, SIGNING_SECRET, MAPILLARY_TOKEN)
FREE = frozenset(licences.FREE)
CALMLY = {"unit_s": 0.01, "timeout_s": 5.0, "user_agent": "nogps/0.1 (tests@localhost) aiohttp/3"}


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
    monkeypatch.setattr(flickr_api, "FIRST_WAIT_S", 0.001)


def client(base: str) -> Callable[..., Polite]:
    return partial(Polite, base=base, **CALMLY)


def make_flickr(base: str, here: Path, key: str = KEY) -> Flickr:
    settings = flickr.Settings(
        terms=["beach", "village"],
        excluded_terms=["wedding"],
        uploaded_from=date(2007, 1, 1),
        uploaded_to=date(2007, 12, 31),
        accuracy=11,
        licences=[],
        size_suffix="z",
        max_photos=0,
    )
    api = flickr_api.Api(key, SECRET, f"{base}/services/rest/", trust_env=False, pause_s=0)
    answers = AnswerCache(here / "answers.sqlite")
    return Flickr(api, settings, answers=answers, page_base="http://www.flickr.invalid")


def make_streetview(base: str, here: Path, key: str = GOOGLE_KEY) -> StreetView:
    addresses = here / "addresses.csv"
    here.mkdir(parents=True, exist_ok=True)
    spots = [(37.77, -122.41), (34.05, -118.24)]
    rows = [
        f"{longitude + east / 300:.6f},{latitude + north / 300:.6f},{north},{east} ST"
        for latitude, longitude in spots
        for east in range(6)
        for north in range(6)
    ]
    addresses.write_text("\n".join(["LON,LAT,NUMBER,STREET", *rows]) + "\n")
    return StreetView(
        key,
        SIGNING_SECRET,
        streetview.Settings(
            addresses=[addresses],
            locations=40,
            region_km=0,
            headings=2,
            side=64,
            fov=90,
            pitch=0,
            radius_m=50,
            terms_accepted=True,
            usd_per_1000=7.0,
            free_a_month=0,
        ),
        Budget(here / "paid.sqlite", 100.0, 0.007),
        client(base),
        answers=AnswerCache(here / "answers.sqlite"),
        base_url="http://maps.googleapis.invalid",
        page_base="http://www.google.invalid",
    )


def around(latitude: float, longitude: float) -> SearchSpec:
    """All photos of a quarter of a degree, and no limit to what is kept."""
    box = (longitude - 0.12, latitude - 0.12, longitude + 0.13, latitude + 0.13)
    return SearchSpec(Limits(Region.read(box)), FREE, "land")


@cache
def busiest(service: str) -> SearchSpec:
    """Where a service has the most photos."""
    positions = [(round(each[0], 1), round(each[1], 1)) for each in positions_of(service)]
    return around(*Counter(positions).most_common(1)[0][0])


def positions_of(service: str) -> Iterator[tuple[float, float]]:
    if service == "panoramax":
        found = panoramax.Panoramax(SEED, PHOTOS).map
    elif service == "mapillary":
        found = mapillary.Mapillary(SEED, PHOTOS).map
    else:
        found = commons.Commons(photos(SEED, PHOTOS)).map
    return ((latitude, longitude) for latitude, longitude, _ in found.within(-180, -90, 180, 90))


def searching(service, base: str, here: Path) -> Search:
    return Search(service, client(base), AnswerCache(here / "answers.sqlite"))


def make_panoramax(base: str, here: Path, key: str = "", most: int = 20) -> Search:
    service = Panoramax(
        busiest("panoramax"),
        sources.panoramax.Settings(quality="sd"),
        base_url=panoramax.CATALOGUE,
        most_listed=most,
    )
    return searching(service, base, here)


def make_commons(base: str, here: Path, key: str = "", most: int = 60) -> Search:
    service = Commons(
        busiest("commons"),
        sources.commons.Settings(width=960, uncertain=False),
        base_url=commons.SITE,
        most_listed=most,
    )
    return searching(service, base, here)


def make_mapillary(base: str, here: Path, key: str = MAPILLARY_TOKEN, most: int = 20) -> Search:
    service = Mapillary(
        key,
        busiest("mapillary"),
        sources.mapillary.Settings(positions="computed", width=1024),
        base_url=mapillary.GRAPH,
        most_listed=most,
    )
    return searching(service, base, here)


@dataclass(frozen=True)
class Case:
    make: Callable[..., Source]
    apis: set[str]  # what the planet calls the questions
    pictures: set[str]  # ... and the pictures
    left_out: Callable[[dict[str, int]], tuple[int, int]]  # what was seen, and what became of it


def flickr_account(counts: dict[str, int]) -> tuple[int, int]:
    left = ("repeated", "without_position", "imprecise", "without_picture")
    return counts["rows"], counts["candidates"] + sum(counts[name] for name in left)


def streetview_account(counts: dict[str, int]) -> tuple[int, int]:
    left = ("without_panorama", "unanswered", "repeated", "unofficial", "without_position")
    return counts["drawn"], counts["panoramas"] + sum(counts[name] for name in left)


def area_account(counts: dict[str, int]) -> tuple[int, int]:
    asked = ("cells", "calls", "listed", "candidates")
    left = (v for k, v in counts.items() if k not in asked and not k.endswith(("areas", "cells")))
    return counts["listed"], counts["candidates"] + sum(left)


CASES = {
    "flickr": Case(make_flickr, {"search"}, {"picture"}, flickr_account),
    "streetview": Case(make_streetview, {"metadata"}, {"image"}, streetview_account),
    "panoramax": Case(make_panoramax, {"items"}, {"asset"}, area_account),
    "commons": Case(make_commons, {"files"}, {"file"}, area_account),
    "mapillary": Case(make_mapillary, {"images", "address"}, {"thumb"}, area_account),
}
every_source = pytest.mark.parametrize("name", CASES)
with_key = pytest.mark.parametrize("name", ["flickr", "streetview", "mapillary"])


@dataclass(frozen=True)
class Calm:
    """A planet on which nothing goes wrong, and what each source finds and fetches there."""

    running: Planet
    log: Path
    found: dict[str, list[Candidate]]
    counts: dict[str, dict[str, int]]
    pictures: dict[str, list]


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> Iterator[Calm]:
    here = tmp_path_factory.mktemp("calm")
    log = here / "log.jsonl"
    with running_planet(SEED, PHOTOS, log=log) as running:
        found, counts, pictures = {}, {}, {}
        for name, case in CASES.items():
            source = case.make(running.base, here / name)
            found[name] = list(source.candidates())
            counts[name] = source.counted()
            pictures[name] = fetched(source, found[name][:30], running.base)
        yield Calm(running, log, found, counts, pictures)


def fetched(source: Source, candidates: list[Candidate], base: str) -> list:
    async def work() -> list:
        async with client(base)(connections=8) as http:
            return await asyncio.gather(*(source.fetch(each.url, http) for each in candidates))

    return asyncio.run(work())


def rows_of(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]


# --- searching ---


@every_source
def test_candidates_say_all_that_is_known(calm, name):
    found = calm.found[name]
    assert len(found) > 20
    assert len({each.photo_id for each in found}) == len(found)
    for each in found:
        assert each.source == name
        assert -90 <= each.latitude <= 90 and -180 <= each.longitude <= 180
        assert each.owner and each.url and each.licence and each.page_url
        assert each.heading is None or 0 <= each.heading < 360
        assert each.taken_at == "" or each.taken_at[:4].isdigit()


@every_source
def test_everything_seen_is_accounted_for(calm, name):
    seen, accounted = CASES[name].left_out(calm.counts[name])
    assert seen == accounted
    assert calm.counts[name]["candidates"] == len(calm.found[name])


def test_what_commons_lists_does_not_depend_on_how_much_at_a_time(calm, tmp_path):
    """Its limit is one of positions: an answer cut by it may hold fewer files than the limit."""
    whole = make_commons(calm.running.base, tmp_path / "whole", most=500)
    small = make_commons(calm.running.base, tmp_path / "small", most=20)
    everything = {each.photo_id for each in whole.candidates()}
    assert len(everything) > 20
    assert {each.photo_id for each in small.candidates()} == everything
    assert whole.counted()["listed"] == small.counted()["listed"]


@every_source
def test_nothing_is_asked_twice_and_the_same_is_found(calm, name, tmp_path):
    def asked() -> int:
        return sum(row["what"] in CASES[name].apis for row in rows_of(calm.log))

    make = partial(CASES[name].make, calm.running.base, tmp_path)
    first = make()
    assert list(first.candidates()) == calm.found[name]
    before = asked()
    again = make()
    assert list(again.candidates()) == calm.found[name]
    assert again.counted() == first.counted()
    assert asked() == before


@every_source
def test_with_answers_half_written_it_asks_again(calm, name, tmp_path):
    make = partial(CASES[name].make, calm.running.base, tmp_path)
    list(make().candidates())
    assert kept_answers(tmp_path / "answers.sqlite")
    damage_answers(tmp_path / "answers.sqlite")
    assert list(make().candidates()) == calm.found[name]


@every_source
def test_passing_faults_change_nothing(calm, name, tmp_path):
    case = CASES[name]
    asked = case.apis - {"address"}
    kinds = [kind for kind in FAULTS if kind not in PERSISTENT and hits(kind) & asked]
    assert {"api_error", "api_reset", "api_too_many"} <= set(kinds)
    faults = dict.fromkeys(kinds, 0.5 / len(kinds))
    with running_planet(SEED, PHOTOS, faults=faults, log=tmp_path / "log") as planet:
        source = case.make(planet.base, tmp_path / "kept")
        assert list(source.candidates()) == calm.found[name]
    struck = {row["fault"] for row in rows_of(tmp_path / "log")} - {""}
    assert struck and struck <= set(kinds)


def test_positions_of_a_file_may_come_in_several_answers(calm, tmp_path, monkeypatch):
    monkeypatch.setattr(commons, "COORDINATES_A_CALL", {"max": 1, "": 1})
    with serving(photos(SEED, PHOTOS)) as base:
        assert list(make_commons(base, tmp_path).candidates()) == calm.found["commons"]


@every_source
@pytest.mark.parametrize("trouble", [RESET, 500, 503])
def test_lasting_trouble_is_told_in_a_sentence(name, trouble, tmp_path, monkeypatch):
    monkeypatch.setattr("nogps.acquire.http.TRIES", 2)
    monkeypatch.setattr("nogps.acquire.http.PROBES", 2)
    monkeypatch.setattr("nogps.acquire.http.FAILURES_TO_OPEN", 4)
    monkeypatch.setattr(flickr_api, "TRIES", 2)
    with answering((trouble,)) as (base, _):
        source = CASES[name].make(base, tmp_path)
        with pytest.raises(InputError) as told:
            list(source.candidates())
    assert "\n" not in str(told.value)
    assert "later" in str(told.value)


@with_key
def test_a_key_that_is_not_taken_is_told(calm, name, tmp_path):
    source = CASES[name].make(calm.running.base, tmp_path, key="no-such-key")
    with pytest.raises(InputError) as told:
        list(source.candidates())
    assert "no-such-key" not in str(told.value)
    assert "\n" not in str(told.value)


@with_key
def test_without_a_key_it_says_where_to_get_one(name, tmp_path):
    with pytest.raises(InputError, match="https://"):
        CASES[name].make("http://127.0.0.1:9", tmp_path, key="")


# --- pictures ---


@every_source
def test_pictures_are_there(calm, name):
    found = calm.pictures[name]
    statuses = Counter(each.status for each in found)
    assert statuses[Status.OK] > 20
    assert set(statuses) <= {Status.OK, Status.GONE, Status.PLACEHOLDER}
    for each in found:
        if each.status is Status.OK:
            assert min(checked_size(each.body)) >= 64


@every_source
def test_pictures_come_through_passing_faults(calm, name, tmp_path):
    case = CASES[name]
    hit = case.pictures | (case.apis & {"address"})
    kinds = [kind for kind in FAULTS if kind not in (*PERSISTENT, "stall") and hits(kind) & hit]
    assert {"too_many", "server_error", "reset", "cut_off", "truncated"} <= set(kinds)
    faults = dict.fromkeys(kinds, 0.4 / len(kinds))
    with running_planet(SEED, PHOTOS, faults=faults, log=tmp_path / "log") as planet:
        source = case.make(planet.base, tmp_path / "kept")
        got = fetched(source, calm.found[name][:30], planet.base)
    assert got == calm.pictures[name]
    assert {row["fault"] for row in rows_of(tmp_path / "log")} - {""}


@every_source
@pytest.mark.parametrize("kind", ["gone", "not_an_image"])
def test_what_is_no_photo_any_more_is_told(calm, name, kind, tmp_path):
    good = [
        candidate
        for candidate, got in zip(calm.found[name][:30], calm.pictures[name], strict=True)
        if got.status is Status.OK
    ][: MOST_IN_A_ROW * 3]
    with running_planet(SEED, PHOTOS, faults={kind: 1.0}) as planet:
        source = CASES[name].make(planet.base, tmp_path)
        statuses = {each.status for each in fetched(source, good, planet.base)}
    if kind == "gone":
        assert statuses == {Status.GONE}
    else:  # a page, or bytes that only say that they are a picture, which download looks into
        assert statuses <= {Status.NOT_AN_IMAGE, Status.OK}
        assert Status.NOT_AN_IMAGE in statuses


# --- secrets and manners ---


@every_source
def test_secrets_are_left_nowhere(calm, name, tmp_path):
    source = CASES[name].make(calm.running.base, tmp_path)
    told = repr(source) + repr(getattr(source, "service", "")) + repr(list(source.candidates()))
    told += json.dumps(source.counted())
    for path in tmp_path.rglob("*"):
        if path.is_file():
            told += path.read_bytes().decode("latin-1")
    told += b"".join(kept_answers(tmp_path / "answers.sqlite")).decode()
    assert not [secret for secret in SECRETS if secret in told]


@every_source
def test_keys_go_to_the_hosts_that_want_them_alone(calm, name):
    case = CASES[name]
    rows = [row for row in rows_of(calm.log) if row["what"] in case.apis | case.pictures]
    keyed = {"search", "metadata", "image", "images", "address"}
    assert {row["what"] for row in rows} == case.apis | case.pictures
    for row in rows:
        assert row["authorised"] == (row["what"] in keyed)


def test_every_host_of_the_planet_that_can_go_wrong_is_in_the_suite():
    everywhere = set().union(*(hits(kind) for kind in FAULTS))
    assert everywhere == set().union(*(case.apis | case.pictures for case in CASES.values()))
