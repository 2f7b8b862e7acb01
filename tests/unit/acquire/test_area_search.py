"""The search itself, over services that list points and cut long answers off."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nogps.acquire import area, area_search
from nogps.acquire.answers import AnswerCache
from nogps.acquire.area import Box, Region, geojson_point
from nogps.acquire.area_search import Search
from nogps.acquire.candidate import Candidate, Status
from nogps.acquire.exclude import Excluded
from nogps.acquire.http import HostDown, Polite, Unavailable
from nogps.acquire.limits import Limits, Thinning
from nogps.acquire.pictures import fetch_picture
from nogps.acquire.service import REFUSALS, Page, Refused, SearchSpec
from nogps.base.errors import InputError
from nogps.earth import s2
from nogps.earth.geo import distance_km
from tests.kept import NoAnswers
from tests.pictures import encoded, picture
from tests.servers import answering

HERE = (47.0, 5.0, 47.4, 5.6)  # south, west, north, east
REGION = Region.read((5.0, 47.0, 5.6, 47.4))
FREE = frozenset({"CC0"})
HTTP = partial(Polite, unit_s=0.001, timeout_s=5.0)


@pytest.fixture(scope="module", autouse=True)
def fewer_points():
    """Sample cells from fewer points at a time: the region has few cells."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(area, "BATCH", 2_000)
        yield


def photo(number: int, latitude: float, longitude: float, **more) -> Candidate:
    owner = more.pop("owner", "")
    return Candidate(f"{number:06d}", "test", latitude, longitude, owner, "u", **more)


def crowd(count: int, seed: int = 0, spread: float = 0.015, **more) -> list[Candidate]:
    """Photos around a few spots of the region."""
    rng = np.random.default_rng(seed)
    spots = rng.uniform((47.1, 5.1), (47.3, 5.5), (5, 2))
    at = spots[rng.integers(5, size=count)] + rng.normal(0, spread, (count, 2))
    return [photo(number, *position, **more) for number, position in enumerate(at.tolist())]


@dataclass
class Listing:
    """A service that lists photos; of the fullest boxes it lists those nearest to the middle."""

    listing: list[Candidate]
    spec: SearchSpec
    most_listed: int = 20
    most_square_degrees: float = 0.02
    coarse_levels: tuple[int, ...] = ()
    fails: object = None  # a box fails while this says so
    name: str = "Listing"
    asked: list[Box] = field(default_factory=list)

    async def fetch(self, url, http):
        raise NotImplementedError

    async def ask(self, box: Box, http, most: int) -> Page:
        await asyncio.sleep(0)
        assert most == 1 or box.square_degrees <= self.most_square_degrees
        self.asked.append(box)
        if trouble := self.fails and self.fails(box):
            raise trouble
        inside = [
            each
            for each in self.listing
            if box.south <= each.latitude <= box.north and box.west <= each.longitude <= box.east
        ]
        y, x = (box.south + box.north) / 2, (box.west + box.east) / 2
        inside.sort(key=lambda each: (each.latitude - y) ** 2 + (each.longitude - x) ** 2)
        return Page({each.photo_id: each for each in inside[:most]}, len(inside[:most]) >= most)

    def key(self, box: Box) -> list:
        return [str(box), self.most_listed]


OWN = ("most_listed", "most_square_degrees", "coarse_levels", "fails")


def searched(listing, kept=None, **changes) -> tuple[Search, list[Candidate], Listing]:
    limits = changes.pop("limits", Limits(REGION))
    own = {name: changes.pop(name) for name in OWN if name in changes}
    service = Listing(listing, SearchSpec(limits, FREE, **{"places": "land", **changes}), **own)
    search = Search(service, HTTP, kept or NoAnswers())
    return search, search.candidates(), service


def ids(photos) -> list[str]:
    return sorted(each.photo_id for each in photos)


def accounted(search: Search) -> None:
    counts = search.counted()
    left = sum(search.rejections.values())
    assert counts["listed"] == counts["candidates"] + left


# --- nothing is lost ---


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 400), st.integers(0, 50), st.integers(8, 60), st.sampled_from([9, 11, 12]))
def test_all_photos_of_a_region_are_found_however_few_one_answer_lists(count, seed, most, level):
    photos = crowd(count, seed)
    # What lies in one spot of a square metre cannot be told apart by area: there is none here.
    search, found, _ = searched(photos, most_listed=most, limits=Limits(REGION, cell_level=level))
    assert ids(found) == ids(photos)
    assert search.counts.cut_areas == 0
    accounted(search)
    if count > 20 * most and level < 12:
        assert search.counts.full_areas > 0


def test_what_is_too_dense_to_be_divided_is_said(capsys):
    spot = [photo(number, 47.2, 5.3) for number in range(50)]
    search, found, _ = searched(spot, most_listed=20)
    assert 20 <= len(found) < 50
    assert search.counts.cut_areas > 0
    assert "hold more photos than Listing lists" in capsys.readouterr().out


def test_a_page_that_is_exactly_full_is_divided():
    photos = crowd(20, spread=0.001)
    limits = Limits(REGION, cell_level=5)
    search, found, _ = searched(photos, most_listed=20, most_square_degrees=100, limits=limits)
    assert ids(found) == ids(photos)
    assert search.counts.full_areas >= 1


def test_boxes_beside_the_region_are_not_asked_about():
    """Of a place much larger than the region."""
    _, found, service = searched(crowd(100), limits=Limits(REGION, cell_level=4))
    assert len(found) == 100
    for box in service.asked:
        assert box.west <= HERE[3] and box.east >= HERE[1]
        assert box.south <= HERE[2] and box.north >= HERE[0]


def test_boxes_that_are_too_large_are_divided_before_they_are_asked_about():
    _, found, service = searched(
        crowd(100), most_square_degrees=0.0005, limits=Limits(REGION, cell_level=9)
    )
    assert len(found) == 100
    assert max(box.square_degrees for box in service.asked) <= 0.0005


def test_a_photo_on_the_edge_of_two_places_is_found_once():
    rng = np.random.default_rng(0)
    cells = s2.parent(s2.cell_ids(*rng.uniform(HERE[:2], HERE[2:], (40, 2)).T), 11)
    corners = np.array(s2.centre(s2.children(cells).ravel())).T
    inside = np.clip(corners, HERE[:2], HERE[2:]).tolist()
    photos = [photo(number, *at) for number, at in enumerate(inside)]
    search, found, _ = searched(photos, most_listed=1000)
    assert ids(found) == ids(photos)
    accounted(search)


# --- limits ---


def test_so_many_photos_as_are_wanted_and_no_more():
    search, found, _ = searched(crowd(500), photos=60)
    assert len(found) == 60
    assert search.counts.unasked_cells > 0
    accounted(search)


def test_enough_of_a_place_leaves_the_rest_of_it_unasked():
    photos = crowd(3000, spread=0.001)
    limits = Limits(REGION, per_cell=10, cell_level=11)
    few, found, small = searched(photos, limits=limits)
    _, _, large = searched(photos)
    assert few.counts.unread_areas > 0
    assert len(small.asked) < len(large.asked) / 3
    cells = s2.parent(s2.cell_ids(*np.array([(p.latitude, p.longitude) for p in found]).T), 11)
    assert max(Counter(cells.tolist()).values()) == 10
    accounted(few)


def test_a_place_is_read_further_where_its_first_photos_do_not_count():
    """Most are of an owner of whom there are enough from the places before it."""
    rng = np.random.default_rng(0)
    cells = s2.parent(s2.cell_ids(*rng.uniform((47.1, 5.1), (47.3, 5.5), (8, 2)).T), 11)
    photos = []
    for latitude, longitude in zip(*s2.centre(np.unique(cells)), strict=True):
        for _ in range(80):
            north, east = rng.uniform(-0.01, 0.01, 2)
            owner = "one" if len(photos) % 4 else f"other {len(photos)}"
            photos.append(photo(len(photos), latitude + north, longitude + east, owner=owner))
    limits = Limits(REGION, per_cell=10, per_owner=10, cell_level=11)
    search, found, _ = searched(photos, most_listed=8, limits=limits)
    at = np.array([(each.latitude, each.longitude) for each in found]).T
    by_cell = Counter(s2.parent(s2.cell_ids(*at), 11).tolist())
    assert by_cell == dict.fromkeys(cells.tolist(), 10)
    assert Counter(each.owner for each in found)["one"] <= 10
    assert search.counts.unread_areas > 0
    accounted(search)


def test_what_is_excluded_takes_nobodys_room():
    photos = [
        photo(number, 47.2 + number / 1e5, 5.3, owner=f"o{number % 4}") for number in range(40)
    ]
    excluded = Excluded(frozenset(), frozenset({"o2", "o3"}))
    search, found, _ = searched(photos, limits=Limits(REGION, per_cell=20), excluded=excluded)
    assert {each.owner for each in found} == {"o0", "o1"}
    assert len(found) == 20
    assert search.counted()["excluded"] == 20
    accounted(search)


def test_with_a_photo_all_of_its_owner_is_excluded():
    photos = [photo(n, 47.2, 5.3 + n / 1e5, owner=f"o{n % 4}") for n in range(40)]
    search, found, _ = searched(photos, excluded=Excluded(frozenset({"000039"})))
    assert {each.owner for each in found} == {"o0", "o1", "o2"}
    assert search.counted()["excluded"] == 10
    assert search.counts.candidates == len(found) == 30
    accounted(search)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 5), st.integers(0, 4), st.integers(0, 3), st.floats(0, 500))
def test_limits_hold_over_all_places(seed, per_owner, per_sequence, spacing_m):
    photos = [
        photo(n, p.latitude, p.longitude, owner=f"o{n % 7}", sequence=f"s{n % 31}")
        for n, p in enumerate(crowd(200, seed))
    ]
    limits = Limits(REGION, per_owner=per_owner, per_sequence=per_sequence, spacing_m=spacing_m)
    search, found, _ = searched(photos, limits=limits)
    accounted(search)
    if per_owner:
        assert max(Counter(each.owner for each in found).values()) <= per_owner
    if per_sequence:
        assert max(Counter(each.sequence for each in found).values()) <= per_sequence
    if spacing_m and len(found) > 1:
        at = np.array([(each.latitude, each.longitude) for each in found])
        away = distance_km(at[:, None, 0], at[:, None, 1], at[None, :, 0], at[None, :, 1])
        assert away[np.triu_indices(len(at), 1)].min() * 1000 >= spacing_m
    if not (per_owner or per_sequence or spacing_m):
        assert len(found) == 200


@pytest.mark.parametrize(("source", "kept"), [("streetview", 4), ("mapillary", 1)])
def test_views_of_one_panorama_are_not_too_near_each_other(source, kept):
    """But pictures of a camera with four lenses are: they may be of a thousand drives."""
    thinning = Thinning(Limits(spacing_m=25))
    views = [photo(n, 47.2, 5.3, owner="o", heading=90.0 * n) for n in range(4)]
    assert sum(thinning.takes(replace(each, source=source)) for each in views) == kept
    assert thinning.rejections["too_near"] == 4 - kept


def test_when_it_ends_nothing_is_under_way_any_more():
    closed = []

    class Slow(Listing):
        async def ask(self, box, http, most):
            page = await super().ask(box, http, most)
            if len(self.asked) > 3:
                try:
                    await asyncio.sleep(60)
                finally:
                    closed.append(http._session.closed)
            return page

    rng = np.random.default_rng(0)
    everywhere = rng.uniform(HERE[:2], HERE[2:], (3000, 2)).tolist()
    photos = [photo(number, *at) for number, at in enumerate(everywhere)]
    spec = SearchSpec(Limits(REGION), FREE, "land", photos=1)
    assert len(Search(Slow(photos, spec, 1000), HTTP, NoAnswers()).candidates()) == 1
    assert closed and not any(closed)


def test_calls_are_bounded_in_a_place_that_never_ends():
    photos = crowd(5000, spread=0.001)
    limits = Limits(REGION, cell_level=4)
    search, _, _ = searched(photos, most_listed=5, calls=40, limits=limits)
    assert 40 <= search.counts.calls < 50
    assert search.counts.unread_areas > 0
    accounted(search)


def test_calls_are_bounded_and_the_bound_is_said(capsys):
    search, found, _ = searched(crowd(2000), most_listed=5, calls=30, photos=1000)
    assert search.counts.calls >= 30
    assert search.counts.unasked_cells > 0  # the last place was asked about to its end
    assert len(found) < 1000
    assert "raise sampling.calls" in capsys.readouterr().out
    accounted(search)


def test_it_is_said_when_there_are_no_more(capsys):
    searched(crowd(50), photos=60)
    assert "50 of 60 photos after" in capsys.readouterr().out
    searched(crowd(50), photos=50)
    assert " of 50 photos after" not in capsys.readouterr().out


def test_useless_photos_are_counted_by_reason_and_once():
    class Picky(Listing):
        async def ask(self, box, http, most):
            page = await super().ask(box, http, most)
            photos = {
                key: each if int(key) % 3 else "licence_not_wanted"
                for key, each in page.photos.items()
            }
            return Page(photos, page.full)

    service = Picky(crowd(90), SearchSpec(Limits(REGION), FREE, "land"))
    search = Search(service, HTTP, NoAnswers())
    found = search.candidates()
    assert len(found) == 60
    assert search.counted()["licence_not_wanted"] == 30
    accounted(search)


# --- where many places are empty ---


def test_one_coarse_question_tells_that_many_places_are_empty():
    world = Limits(cell_level=11)
    photos = crowd(200)
    kwargs = {"limits": world, "places": "population", "calls": 300}
    blind, _, _ = searched(photos, **kwargs)
    seeing, _, service = searched(photos, coarse_levels=(4, 7), **kwargs)
    assert blind.counts.cells <= 300
    assert seeing.counts.cells > 3 * blind.counts.cells
    assert len({str(box) for box in service.asked}) == len(service.asked)


def test_a_coarse_question_that_fails_hides_nothing():
    photos = crowd(50)
    _, found, _ = searched(
        photos, coarse_levels=(4,), fails=lambda box: box.square_degrees > 1 and Unavailable("x")
    )
    assert ids(found) == ids(photos)


# --- trouble ---


def test_an_area_that_fails_is_asked_in_parts():
    photos = crowd(100)
    search, found, _ = searched(
        photos, most_listed=500, fails=lambda box: box.square_degrees > 0.0003 and Unavailable("x")
    )
    assert ids(found) == ids(photos)
    assert search.counts.unanswered_areas == 0


def test_an_area_that_always_fails_is_counted_and_tried_next_time(tmp_path, capsys):
    photos = crowd(100)
    first = photos[0]

    def bad(box: Box) -> object:
        tall = box.south <= first.latitude <= box.north
        wide = box.west <= first.longitude <= box.east
        return Unavailable("x") if tall and wide else None

    kept = AnswerCache(tmp_path / "answers.sqlite")
    search, found, _ = searched(photos, kept, fails=bad)
    assert search.counts.unanswered_areas > 0
    assert first.photo_id not in ids(found)
    assert "were not answered this time" in capsys.readouterr().out
    again, found, service = searched(photos, kept)
    assert ids(found) == ids(photos)
    assert len(service.asked) < again.counts.calls


def test_an_area_that_is_refused_is_left_out_and_the_others_are_not():
    """An odd box, at each run: it must not keep anybody from all the rest."""
    photos = crowd(100)
    first = photos[0]

    def odd(box: Box) -> object:
        tall = box.south <= first.latitude <= box.north
        return Refused("no") if tall and box.west <= first.longitude <= box.east else None

    search, found, _ = searched(photos, fails=odd)
    assert len(found) > 50 and first not in found
    assert search.counts.unanswered_areas > 0


@pytest.mark.parametrize("region", [REGION, Region.read((5.0, 47.0, 5.01, 47.01))])
def test_a_service_that_goes_on_refusing_ends_the_search_with_its_reason(region):
    """Also where it is asked so little that it has refused only a few times."""
    with pytest.raises(InputError, match=r"^refused \(code 10\); run this again later"):
        searched(crowd(10), fails=lambda box: Refused("refused (code 10)"), limits=Limits(region))


def test_refusals_end_a_search_soon():
    refused = []

    def no(box: Box) -> object:
        refused.append(box)
        return Refused("no")

    with pytest.raises(InputError):
        searched(crowd(10), fails=no)
    assert len(refused) < REFUSALS + area_search.AHEAD


def test_photos_exactly_as_far_apart_as_wanted_are_both_taken():
    one, other = photo(1, 47.0, 5.0), photo(2, 47.001, 5.001)
    away = 1000 * float(distance_km(47.001, 5.001, 47.0, 5.0))
    for spacing, taken in ((away, True), (away * 1.001, False)):
        thinning = Thinning(Limits(spacing_m=spacing))
        assert thinning.takes(one) and thinning.takes(other) is taken


def test_only_refusals_in_a_row_end_a_search():
    refused = []

    def every_other(box: Box) -> object:
        refused.append(len(refused) % 2)
        return Refused("no") if refused[-1] else None

    searched(crowd(300), most_listed=5, fails=every_other)
    assert sum(refused) > 2 * REFUSALS


def test_a_host_that_is_down_ends_the_search_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"Listing is down .* what is answered is kept"):
        searched(crowd(10), fails=lambda box: HostDown("x"))


def test_an_interrupted_search_goes_on_where_it_was(tmp_path):
    photos = crowd(300)
    kept = AnswerCache(tmp_path / "answers.sqlite")
    calls = Counter()

    def interrupted(box: Box) -> object:
        calls["made"] += 1
        return KeyboardInterrupt() if calls["made"] > 40 else None

    with pytest.raises(KeyboardInterrupt):
        searched(photos, kept, fails=interrupted)
    whole, found, service = searched(photos, kept)
    assert ids(found) == ids(photos)
    fresh, same, _ = searched(photos)
    assert same == found
    assert fresh.counted() == whole.counted()
    assert len(service.asked) < fresh.counts.calls - 20


# --- pictures ---


def got(*script, **options):
    async def work(base):
        async with HTTP() as http:
            return await fetch_picture(f"{base}/a", http, **options)

    with answering(*script) as (base, heard):
        return asyncio.run(work(base)), heard


JPEG = encoded(picture(64, 64))


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ((200, "image/jpeg", JPEG), Status.OK),
        ((200, "binary/octet-stream", JPEG), Status.OK),
        ((404,), Status.GONE),
        ((410,), Status.GONE),
        ((403,), Status.FAILED),
        ((200, "text/html", b"<html>"), Status.NOT_AN_IMAGE),
    ],
)
def test_what_comes_for_a_picture(answer, status):
    found, _ = got(answer)
    assert found.status is status
    assert found.body == (JPEG if status is Status.OK else b"")


def test_redirects_are_followed_but_not_for_ever():
    found, heard = got((302, "text/html", b"", ("Location", "/b")), (200, "image/jpeg", JPEG))
    assert (found.body, list(heard)) == (JPEG, ["/a", "/b"])
    found, heard = got((302, "text/html", b"", ("Location", "/a")))
    assert found.status is Status.FAILED
    assert len(heard) < 10


def test_an_empty_answer_after_a_redirect_is_asked_for_again_as_any_other():
    """Although the redirect was as empty: the same twice is all there is, but of one address."""
    sent_on = (302, "text/html", b"", ("Location", "/b"))
    found, heard = got(sent_on, (200, "text/html", b""), (200, "image/jpeg", JPEG))
    assert (found.body, list(heard)) == (JPEG, ["/a", "/b", "/b"])


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        "Point",
        {},
        {"coordinates": None},
        {"coordinates": []},
        {"coordinates": ["a", "b"]},
        {"coordinates": [0, 0]},
        {"coordinates": [181, 0]},
        {"coordinates": [0, 91]},
        {"coordinates": [float("nan"), 1]},
    ],
)
def test_what_is_no_point_is_none(geometry):
    assert geojson_point(geometry) is None
    assert geojson_point({"coordinates": [2.5, 48, 100]}) == (48.0, 2.5)
