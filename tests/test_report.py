import io
import math
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from nogps import report
from nogps.geo import RADII_KM, distance_km
from nogps.report import (
    MAP_PHOTOS,
    Guess,
    PhotoSet,
    Published,
    Row,
    _arc,
    results_table,
    write_report,
)

METHODS = ["model", "best_cell", "nearest_neighbour", "most_common_cell", "chance"]
VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """A page as its tags, and as its text under each of them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {[tag['tag'] for tag in self.open]}"

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.tags.append(element)
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, **attributes):
        return [
            element
            for element in self.tags
            if element["tag"] == tag
            and all(element.get(name.strip("_")) == value for name, value in attributes.items())
        ]


def made_row(name, n=412, seed=0):
    random = np.random.default_rng([seed, len(name)])
    hits = dict(zip(RADII_KM, np.sort(random.uniform(1, 90, 5)).tolist(), strict=True))
    return Row(
        name=name,
        n=n,
        hits=hits,
        intervals={key: (share - 0.7, share + 4.5) for key, share in hits.items()},
        median_km=random.uniform(100, 9000),
        mean_km=random.uniform(100, 9000),
        geoguessr=random.uniform(0, 5000),
    )


def made_positions(n, seed):
    random = np.random.default_rng(seed)
    return np.stack([random.uniform(-50, 70, n), random.uniform(-180, 180, n)], axis=1)


def made_guess(photo_id="photo", **changes):
    jpeg = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (192, 256, 3), dtype=np.uint8)
    Image.fromarray(noise).save(jpeg, "JPEG", quality=60)
    guess = Guess(
        photo_id=photo_id,
        thumbnail_jpeg=jpeg.getvalue(),
        true_position=(48.86, 2.35),
        guessed_position=(-33.87, 151.21),
        distance_km=16960.4,
        loss=9.25,
        confidence=0.83,
        true_place="Paris, FR",
        guessed_place="Sydney, AU",
        owner="12@N00",
        licence="CC BY 2.0",
        page_url="https://www.flickr.com/photos/12/34",
    )
    return replace(guess, **changes)


def made_report(path, n=60, **changes):
    """Write a report of n photos to path; return its text."""
    truths, guesses = made_positions(n, 1), made_positions(n, 2)
    distances = distance_km(*truths.T, *guesses.T)
    content = {
        "facts": {"source": "folder", "photos": 12345},
        "sets": [
            PhotoSet(
                "test", [made_row(name, n) for name in METHODS], dict.fromkeys(METHODS, distances)
            )
        ],
        "truths": truths,
        "guesses": guesses,
        "worst_by_loss": [made_guess(f"loss-{i}") for i in range(10)],
        "worst_by_distance": [made_guess(f"distance-{i}") for i in range(10)],
    }
    write_report(path, **(content | changes))
    return path.read_text("utf-8")


def with_model(**changes):
    """A set of photos whose model is changed as told, the other rows as they were."""
    rows = [made_row(name) for name in METHODS]
    rows[0] = replace(rows[0], **changes)
    return PhotoSet("test", rows, {name: np.full(412, 100.0) for name in METHODS})


def dots(page, layer):
    figure_paths = page.all("path", _class=layer)
    return figure_paths[0]["d"].count("h0")


def test_page_loads_nothing_from_elsewhere(tmp_path):
    html = made_report(tmp_path / "report.html")
    page = Page(html)
    for element in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            address = element.get(name)
            if address and element["tag"] != "a":
                assert address.startswith(("data:image/jpeg;base64,", "#")), address
    assert not page.all("script") and not page.all("link")
    assert "@import" not in html and "url(" not in html
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'")
    assert all(a["href"].startswith("https://www.flickr.com/") for a in page.all("a"))


def test_same_input_same_bytes(tmp_path):
    assert made_report(tmp_path / "a.html") == made_report(tmp_path / "b.html")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_table_holds_the_numbers_passed(tmp_path):
    page = Page(made_report(tmp_path / "report.html", n=1234))
    cells = [" ".join(cell["text"].split()) for cell in page.all("td")]
    for index, name in enumerate(METHODS):
        row = made_row(name, 1234)
        expected = ["1,234"]
        for key in RADII_KM:
            low, high = row.intervals[key]
            expected.append(f"{row.hits[key]:.1f}{low:.1f}\N{EN DASH}{high:.1f}")
        expected += [f"{row.median_km:,.0f}", f"{row.mean_km:,.0f}", f"{row.geoguessr:,.0f}"]
        assert cells[9 * index : 9 * index + 9] == expected
    headers = [header["text"] for header in page.all("th", scope="row")]
    assert headers == [name.replace("_", " ") for name in METHODS]
    assert len(page.all("th", scope="col")) == 10


def test_published_rows_stand_beside_their_benchmark_only(tmp_path):
    published = [Published("PlaNet", {"city_25km": 24.5, "region_200km": 37.6}, "arXiv 1602.05314")]
    rows = [made_row("model")]
    km = {"model": np.array([3.0])}
    sets = [PhotoSet("test", rows, km), PhotoSet("im2gps", rows, km, published)]
    page = Page(made_report(tmp_path / "report.html", sets=sets))
    test, im2gps = (table["text"] for table in page.all("table"))
    assert "PlaNet" not in test
    assert "PlaNet" in im2gps and "arXiv 1602.05314" in im2gps
    assert [cell["text"] for cell in page.all("td")][-9:] == ["", "", "24.5", "37.6", *[""] * 5]


def test_summary_says_how_the_model_did(tmp_path):
    html = made_report(tmp_path / "report.html", sets=[made_winner()])
    summary, rest = Page(html).all("p")[:2]
    assert summary["text"] == (
        "Half of the 412 test photos are placed within 830 km; "
        "31.2 % within 200 km, against 12.0 % for the best baseline."
    )
    assert rest["text"] == "It is ahead of every baseline at all five radii."


def test_summary_says_where_the_model_does_not_beat_a_baseline(tmp_path):
    winner = made_winner()
    model, oracle, neighbour = winner.rows
    hits = neighbour.hits | {"street_1km": 50.0, "city_25km": model.hits["city_25km"]}
    rows = [model, oracle, replace(neighbour, hits=hits)]
    distances = winner.distances | {"model": np.array([*[1.0] * 409, np.nan, np.inf, np.nan])}
    html = made_report(tmp_path / "report.html", sets=[PhotoSet("test", rows, distances)])
    assert Page(html).all("p")[1]["text"] == (
        "It does not beat the best baseline within 1 km (5.0 % against 50.0 % for nearest "
        "neighbour) and within 25 km (20.0 % against 20.0 % for nearest neighbour). "
        "3 could not be read or located and count as misses."
    )


def made_winner():
    names = ["model", "best_cell", "nearest_neighbour"]
    shares = [[5, 20, 31.2, 60, 80], [90] * 5, [1, 5, 12, 30, 50]]
    rows = [
        replace(
            made_row(name),
            hits=dict(zip(RADII_KM, map(float, hits), strict=True)),
            median_km=830.2,
        )
        for name, hits in zip(names, shares, strict=True)
    ]
    return PhotoSet("test", rows, {name: np.full(412, 100.0) for name in names})


def test_curve_agrees_with_the_distances(tmp_path):
    km = np.array([0.5, 20.0, 150.0, np.nan])
    photo_set = PhotoSet("test", [made_row("model", 4)], {"model": km})
    page = Page(made_report(tmp_path / "report.html", sets=[photo_set]))
    curve = page.all("path", _class="method-model")[0]["d"]
    points = [tuple(map(float, point.split())) for point in curve[1:].split("L")]
    radii = [
        float(part[1:].split()[0])
        for part in page.all("path", _class="radii")[0]["d"].split("V100")[:-1]
    ]
    heights = dict(points)
    assert [100 - heights[x] for x in radii] == [25, 50, 75, 75, 75]
    assert points[0] == (0, 100) and points[-1] == (100, 25)


@pytest.mark.parametrize("n", [1, 60, MAP_PHOTOS])
def test_map_shows_every_photo(tmp_path, n):
    html = made_report(tmp_path / "report.html", n=n)
    page = Page(html)
    assert dots(page, "truths") == dots(page, "guesses") == n
    assert f"All {n:,} test photos." in html


def test_map_shows_an_even_sample_of_many_photos(tmp_path):
    html = made_report(tmp_path / "report.html", n=50_000, worst_by_loss=[], worst_by_distance=[])
    page = Page(html)
    assert dots(page, "truths") == dots(page, "guesses") == MAP_PHOTOS
    assert "1,000 of the 50,000 test photos" in html
    assert len(html) < 350_000


def test_map_leaves_out_answers_that_were_not_given(tmp_path):
    guesses = made_positions(60, 2)
    guesses[:7] = np.nan
    html = made_report(tmp_path / "report.html", guesses=guesses)
    page = Page(html)
    assert (dots(page, "truths"), dots(page, "guesses")) == (60, 53)
    assert "7 without an answer" in html


def test_map_frame_holds_every_dot(tmp_path):
    truths, guesses = made_positions(60, 1), made_positions(60, 2)
    truths[0], guesses[0] = (-89.9, 0), (89.9, 0)
    page = Page(made_report(tmp_path / "report.html", truths=truths, guesses=guesses))
    left, top, width, height = map(int, page.all("svg", _class="world")[0]["viewbox"].split())
    for layer in ("truths", "guesses"):
        for dot in page.all("path", _class=layer)[0]["d"].split("h0")[:-1]:
            x, y = map(int, dot[1:].split())
            assert left <= x <= left + width and top <= y <= top + height


def paths(d):
    """The points of each subpath of relative lines, in degrees (longitude, latitude)."""
    for subpath in filter(None, d.split("M")):
        start, steps = subpath.split("l")
        points = np.array([start.split(), *np.reshape(steps.split(), (-1, 2))], int)
        yield points.cumsum(axis=0) / (10, -10)


def test_arc_is_a_great_circle():
    (points,) = paths(_arc((51.5, -0.1), (35.7, 139.7)))
    assert points[0] == pytest.approx((-0.1, 51.5)) and points[-1] == pytest.approx((139.7, 35.7))
    total = distance_km(51.5, -0.1, 35.7, 139.7)
    through = distance_km(51.5, -0.1, *points.T[::-1]) + distance_km(35.7, 139.7, *points.T[::-1])
    assert through == pytest.approx(total, abs=25)  # coordinates are tenths of a degree
    assert points[:, 1].max() > 70  # over Siberia, not along a parallel


def test_arc_goes_the_short_way_over_the_antimeridian():
    east, west = paths(_arc((35.7, 139.7), (37.8, -122.4)))
    assert east[0] == pytest.approx((139.7, 35.7)) and east[-1, 0] > 180
    assert west[-1] == pytest.approx((-122.4, 37.8)) and west[0, 0] < -180
    assert np.abs(np.diff(east[:, 0])).max() < 15


@pytest.mark.parametrize("end", [(10.0, 20.0), (-10.0, -160.0), (10.0, 20.001)])
def test_arc_between_one_place_or_antipodes_is_empty(end):
    assert _arc((10.0, 20.0), end) == ""


def test_coastlines_are_where_the_land_is(tmp_path):
    page = Page(made_report(tmp_path / "report.html"))
    land = page.all("path", _class="land")[0]["d"]
    rings = list(paths(land.replace("z", "")))

    def is_land(latitude, longitude):
        crossings = 0
        for ring in rings:
            (x, y), (x_next, y_next) = ring.T, np.roll(ring, -1, axis=0).T
            spans = (y > latitude) != (y_next > latitude)
            rise = np.where(spans, y_next - y, 1)
            crossings += np.sum(spans & (longitude < x + (latitude - y) * (x_next - x) / rise))
        return crossings % 2 == 1

    towns = [(48.86, 2.35), (-25.3, 131.0), (40.0, -100.0), (-15.8, -47.9), (62.0, 129.7)]
    seas = [(40.0, -40.0), (0.0, -140.0), (-20.0, 80.0), (56.5, 3.0), (42.0, 51.0)]
    assert [is_land(*town) for town in towns] == [True] * 5
    assert [is_land(*sea) for sea in seas] == [False] * 5  # the last is the Caspian, a lake


def test_worst_photos_keep_their_order(tmp_path):
    page = Page(made_report(tmp_path / "report.html"))
    linked = [link["text"] for link in page.all("a")]
    assert linked == [f"loss-{i}" for i in range(10)] + [f"distance-{i}" for i in range(10)]
    assert len(page.all("img")) == 20
    titles = [title["text"] for title in page.all("h2")]
    assert "The 10 photos with the largest loss" in titles
    assert "The 10 photos with the largest distance" in titles


def test_card_says_what_is_known(tmp_path):
    html = made_report(tmp_path / "report.html", worst_by_loss=[made_guess()], worst_by_distance=[])
    page = Page(html)
    card = page.all("li", _class="card")[0]["text"]
    for part in ("Paris, FR", "48.86° N, 2.35° E", "Sydney, AU", "33.87° S, 151.21° E", "16,960"):
        assert part in card
    for part in ("9.25", "83.0", "12@N00, CC BY 2.0"):
        assert part in card
    assert page.all("img")[0]["alt"] == "Photo photo, taken near Paris, FR"
    assert "largest distance" not in html


def test_card_of_a_photo_without_answer_or_picture(tmp_path):
    lost = made_guess(
        thumbnail_jpeg=b"",
        guessed_position=None,
        distance_km=math.nan,
        loss=math.inf,
        confidence=math.nan,
        page_url="",
    )
    page = Page(made_report(tmp_path / "report.html", worst_by_loss=[lost], worst_by_distance=[]))
    card = page.all("li", _class="card")[0]["text"]
    assert card.count("no answer") == 4
    assert "could not be read" in card and "Sydney" not in card
    assert not page.all("img") and not page.all("a")
    assert len(page.all("path", _class="truths")) == 2  # the world map and the card's
    assert len(page.all("path", _class="guesses")) == 1


def test_hostile_text_stays_text(tmp_path):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    guess = made_guess(
        photo_id=evil,
        owner=evil,
        licence=evil,
        true_place=evil,
        guessed_place=evil,
        page_url="javascript:alert(3)",
    )
    page = Page(made_report(tmp_path / "report.html", facts={evil: evil}, worst_by_loss=[guess]))
    assert not page.all("script")
    assert all("onerror" not in element for element in page.tags)
    assert not [link for link in page.all("a") if "javascript" in link["href"]]
    assert evil in page.all("li", _class="card")[0]["text"]


def test_numbers_that_are_not_finite_read_no_answer(tmp_path):
    photo_set = with_model(median_km=math.inf, mean_km=math.nan, geoguessr=math.nan)
    page = Page(made_report(tmp_path / "report.html", sets=[photo_set]))
    assert [cell["text"] for cell in page.all("td")][6:9] == ["no answer"] * 3
    assert page.all("p")[0]["text"].startswith(f"{photo_set.rows[0].hits['region_200km']:.1f} % of")
    assert "no answer" in results_table(photo_set.rows).splitlines()[2]


def test_a_set_without_photos(tmp_path):
    shares = dict.fromkeys(RADII_KM, math.nan)
    intervals = dict.fromkeys(RADII_KM, (math.nan, math.nan))
    rows = [Row(name, 0, shares, intervals, math.nan, math.nan, math.nan) for name in METHODS]
    photo_set = PhotoSet("test", rows, {name: np.array([]) for name in METHODS})
    nobody = np.empty((0, 2))
    html = made_report(
        tmp_path / "report.html",
        sets=[photo_set],
        truths=nobody,
        guesses=nobody,
        worst_by_loss=[],
        worst_by_distance=[],
    )
    assert "There was no photo to test on." in html
    assert {cell["text"] for cell in Page(html).all("td")} == {"0", "no answer"}
    assert results_table(rows).count("no answer") == 5


def test_page_stays_small(tmp_path):
    assert len(made_report(tmp_path / "report.html", n=500)) < 1_500_000


def test_figures_have_names_for_who_cannot_see_them(tmp_path):
    page = Page(made_report(tmp_path / "report.html"))
    assert all(image["alt"] for image in page.all("img"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.all("svg"))
    assert [label["text"].strip() != "" for label in page.all("label")] == [True] * 3
    assert page.all("html")[0]["lang"] == "en-GB"


def test_text_table_is_aligned_and_holds_the_numbers():
    rows = [made_row(name) for name in METHODS]
    lines = results_table(rows).splitlines()
    assert len(lines) == 7
    assert lines[0].split() == ["street", "city", "region", "country", "continent", "median"]
    for row, line in zip(rows, lines[2:], strict=True):
        name, n, *cells, median = line.split()
        assert (name, n, median) == (row.name, str(row.n), f"{row.median_km:,.0f}")
        assert cells[::2] == [f"{share:.1f}" for share in row.hits.values()]
        assert cells[1::2] == ["±4.5"] * 5  # the longer side of the interval
    assert len({line.index("±") for line in lines[2:]}) == 1


def test_text_table_fits_a_terminal():
    hits = dict.fromkeys(RADII_KM, 100.0)
    intervals = dict.fromkeys(RADII_KM, (65.8, 100.0))
    rows = [Row(name, 50_000, hits, intervals, math.inf, 1.0, 1.0) for name in METHODS]
    assert max(map(len, results_table(rows).splitlines())) <= 100


def test_the_map_shows_the_region_where_there_is_but_one():
    def box(positions) -> tuple[float, ...]:
        left, top, width, height = map(float, report._view_box(np.array(positions)).split())
        return left / 10, -top / 10, (left + width) / 10, -(top + height) / 10

    california = [(37.7, -122.4), (34.0, -118.2), (32.7, -117.2)]
    west, north, east, south = box(california)
    assert east - west == pytest.approx(16, abs=0.2)
    assert all(south < lat < north and west < lng < east for lat, lng in california)
    assert box([*california, (48.8, 2.3)]) == (-180, 84, 180, -57)
    assert box([(85.0, 0.0), (-80.0, 170.0)]) == (-180, 90, 180, -90)
