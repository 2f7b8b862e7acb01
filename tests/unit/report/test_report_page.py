import io
import json
import math
import re
import shutil
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from nogps.earth.geo import RADII_KM, distance_km
from nogps.evaluate import analysis
from nogps.evaluate.protocol import Row
from nogps.report import published, report_page
from nogps.report.report_page import MAP_PHOTOS, PhotoSet, write_report
from nogps.report.svg import arc, circle
from nogps.report.table import results_table
from nogps.rights.credits import CREDIT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
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


def made_jpeg():
    jpeg = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(jpeg, "JPEG", quality=60)
    return jpeg.getvalue()


def made_classes():
    return pd.DataFrame(
        {
            "token": ["476d", "6b14", "89c4"],
            "latitude": [48.2085, -33.87, 40.71],  # Vienna, Sydney, New York City
            "longitude": [16.3721, 151.21, -74.01],
            "photos": [50, 30, 20],
            "spread_km": [300.0, 200.0, 100.0],
        }
    )


def made_predictions(n=60, **changes):
    """n photos whose label and answer go round the three classes, at different paces."""
    truths, guesses = made_positions(n, 1), made_positions(n, 2)
    random = np.random.default_rng(3)
    columns = {
        "photo_id": [f"photo-{i}" for i in range(n)],
        "latitude": truths[:, 0],
        "longitude": truths[:, 1],
        "guess_latitude": guesses[:, 0],
        "guess_longitude": guesses[:, 1],
        "distance_km": distance_km(*truths.T, *guesses.T),
        "loss": random.uniform(0, 9, n),
        "confidence": random.uniform(0, 1, n),
        "label": np.arange(n) % 3,
        "guess_label": np.arange(n) // 2 % 3,
        "radius_50_km": random.uniform(10, 1000, n),
        "radius_90_km": random.uniform(1000, 15000, n),
        "nearest_train_km": random.uniform(0, 4000, n),
        "owner": "12@N00",
        "author": "Ann",
        "title": [f"Street {i}" for i in range(n)],
        "licence": "CC BY 2.0",
        "licence_url": "",
        "page_url": "https://www.flickr.com/photos/12/34",
    }
    return pd.DataFrame(columns | changes)


def made_regions():
    rows = [
        ("476", 48.2085, 16.3721, pd.Series([1.0, 30.0, 700.0, 9000.0])),
        ("6b1", -33.87, 151.21, pd.Series([800.0, math.nan])),
    ]
    return pd.DataFrame(
        [
            {"region": region, "latitude": latitude, "longitude": longitude, "geoguessr": 2500.4}
            | analysis.accuracy(km)
            for region, latitude, longitude, km in rows
        ]
    )


def made_photos(predictions, most=20, jpeg=None, top=((1, 0.6), (0, 0.3)), **changes):
    rows = predictions.head(most)
    places = {"true_place": "Paris, France", "guessed_place": "Sydney, Australia"} | changes
    jpeg = b64encode(made_jpeg()).decode() if jpeg is None else jpeg
    return rows.assign(jpeg=jpeg, top=[list(top)] * len(rows), **places)


def made_report(path, n=60, **changes):
    """Write a report of n photos to path; return its text."""
    predictions = changes.get("predictions", made_predictions(n))
    distances = predictions["distance_km"].to_numpy()
    content = {
        "facts": {"source": "folder", "photos": 12345},
        "sets": [
            PhotoSet(
                "test", [made_row(name, n) for name in METHODS], dict.fromkeys(METHODS, distances)
            )
        ],
        "classes": made_classes(),
        "predictions": predictions,
        "regions": made_regions(),
        "photos": made_photos(predictions),
    }
    write_report(path, **(content | changes))
    return path.read_text("utf-8")


def explored(page):
    """What report.js reads."""
    (data,) = page.all("script", id="data")
    return json.loads(data["text"])


def table_of(html, label):
    """Rows of text of the table in the scrolling region of that name."""
    region = html[html.index(f'aria-label="{label}"') :]
    rows = Page(region[region.index("<tbody>") : region.index("</tbody>") + len("</tbody>")])
    texts = []
    for element in rows.tags:
        if element["tag"] == "tr":
            texts.append([])
        if element["tag"] in ("th", "td"):
            texts[-1].append(" ".join(element["text"].split()))
    return texts


def with_model(**changes):
    """A set of photos whose model is changed as told, the other rows as they were."""
    rows = [made_row(name) for name in METHODS]
    rows[0] = replace(rows[0], **changes)
    return PhotoSet("test", rows, {name: np.full(412, 100.0) for name in METHODS})


def credits_of(html):
    """The list of credits."""
    start = html.index('<ol class="credits">')
    return Page(html[start : html.index("</ol>", start) + len("</ol>")])


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
                assert address.startswith("#"), address
    assert not page.all("link")
    assert "@import" not in html and "url(" not in html
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; ")


def test_only_its_own_script_may_run(tmp_path):
    html = made_report(tmp_path / "report.html")
    page = Page(html)
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    data, script = page.all("script")
    assert data["type"] == "application/json"
    digest = b64encode(sha256(script["text"].encode()).digest()).decode()
    (sources,) = [part for part in policy.split("; ") if part.startswith("script-src")]
    assert sources == f"script-src 'sha256-{digest}'"
    assert not [name for tag in page.tags for name in tag if name.startswith("on")]
    assert "eval(" not in script["text"] and "innerHTML" not in script["text"]


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
    assert headers[: len(METHODS)] == [name.replace("_", " ") for name in METHODS]


def test_published_rows_stand_beside_their_benchmark_only(tmp_path):
    rows = [made_row("model")]
    km = {"model": np.array([3.0])}
    sets = [PhotoSet("test", rows, km), PhotoSet("im2gps", rows, km)]
    page = Page(made_report(tmp_path / "report.html", sets=sets))
    test, im2gps = (table["text"] for table in page.all("table")[:2])
    assert "PlaNet" not in test
    assert "PlaNet" in im2gps and "2016, 6.2M training photos; arXiv 1602.05314" in im2gps
    cells = [cell["text"] for cell in page.all("td")]
    assert cells[18:27] == ["", "6.3", "18.1", "30.0", "45.6", "65.8", "", "", ""]


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("im2gps", "PlaNet, 6.2M training photos"),
        ("Im2GPS3k-test", "PlaNet, re-evaluated by CPlaNet"),
        ("im2gps3ktest", "PlaNet, re-evaluated by CPlaNet"),
        ("yfcc4k", "PlaNet, re-evaluated by CPlaNet"),
    ],
)
def test_a_benchmark_goes_by_its_name(name, system):
    rows = published.beside(name)
    assert rows[0]["system"] == system
    assert [row["year"] for row in rows] == sorted(row["year"] for row in rows)
    for row in rows:
        shares = list(row["hits"].values())
        assert shares == sorted(shares) and all(0 < share < 100 for share in shares)
        assert row["source"]
    assert all(row["hits"].keys() <= RADII_KM.keys() for row in rows)


@pytest.mark.parametrize("name", ["test", "val", "im2gps_rome", "my photos", ""])
def test_other_sets_have_no_published_rows(name):
    assert published.beside(name) == []


def test_summary_says_how_the_model_did(tmp_path):
    html = made_report(tmp_path / "report.html", sets=[made_winner()])
    summary, rest = Page(html).all("p")[:2]
    assert summary["text"] == (
        "Half of the 412 test photos are placed within 830 km; "
        "31.2 % within 200 km, against 12.0 % for the best baseline."
    )
    assert rest["text"] == "It is ahead of every baseline at all five radii."


def test_summary_says_where_a_lead_may_be_chance(tmp_path):
    # The model's interval begins at 4.3, nearest neighbour's ends at 5.5.
    winner = made_winner(street=5)
    html = made_report(tmp_path / "report.html", sets=[winner])
    assert Page(html).all("p")[1]["text"] == (
        "It is ahead of every baseline at all five radii; within 1 km the intervals overlap, so "
        "that lead may be chance."
    )


def test_summary_says_where_the_model_does_not_beat_a_baseline(tmp_path):
    winner = made_winner()
    model, oracle, neighbour = winner.rows
    hits = neighbour.hits | {"street_1km": 50.0, "city_25km": model.hits["city_25km"]}
    rows = [model, oracle, replace(neighbour, hits=hits)]
    distances = winner.distances | {"model": np.array([*[1.0] * 409, np.nan, np.inf, np.nan])}
    html = made_report(tmp_path / "report.html", sets=[PhotoSet("test", rows, distances)])
    assert Page(html).all("p")[1]["text"] == (
        "It does not beat the best baseline within 1 km (9.0 % against 50.0 % for nearest "
        "neighbour) and within 25 km (20.0 % against 20.0 % for nearest neighbour). "
        "3 could not be read or located and count as misses."
    )


def made_winner(street=9):
    names = ["model", "best_cell", "nearest_neighbour"]
    shares = [[street, 20, 31.2, 60, 80], [90] * 5, [1, 5, 12, 30, 50]]
    rows = [
        replace(
            made_row(name),
            hits=dict(zip(RADII_KM, map(float, hits), strict=True)),
            intervals={
                key: (each - 0.7, each + 4.5) for key, each in zip(RADII_KM, hits, strict=True)
            },
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
    html = made_report(tmp_path / "report.html", n=50_000)
    page = Page(html)
    assert dots(page, "truths") == dots(page, "guesses") == MAP_PHOTOS
    assert "1,000 of the 50,000 test photos" in html
    assert len(html) < 600_000


def test_map_leaves_out_answers_that_were_not_given(tmp_path):
    predictions = made_predictions()
    predictions.loc[:6, ["guess_latitude", "guess_longitude", "distance_km"]] = math.nan
    html = made_report(tmp_path / "report.html", predictions=predictions)
    page = Page(html)
    assert (dots(page, "truths"), dots(page, "guesses")) == (60, 53)
    assert "7 without an answer" in html


def test_map_frame_holds_every_dot(tmp_path):
    predictions = made_predictions()
    ends = ["latitude", "longitude", "guess_latitude", "guess_longitude"]
    predictions.loc[0, ends] = [-89.9, 0.0, 89.9, 0.0]
    page = Page(made_report(tmp_path / "report.html", predictions=predictions))
    left, top, width, height = map(int, page.all("svg", _class="world")[0]["viewbox"].split())
    for layer in ("truths", "guesses"):
        for dot in page.all("path", _class=layer)[0]["d"].split("h0")[:-1]:
            x, y = map(int, dot[1:].split())
            assert left <= x <= left + width and top <= y <= top + height


def test_regions_are_dots_and_rows(tmp_path):
    html = made_report(tmp_path / "report.html")
    page = Page(html)
    assert [dot["d"] for dot in page.all("path", _class="dot")] == ["M164 -482h0", "M1512 339h0"]
    assert [dot["stroke"] for dot in page.all("path", _class="dot")] == ["#5ec962", "#440154"]
    widths = [float(group["style"].split()[1]) for group in page.all("g") if "style" in group]
    assert widths[0] ** 2 / widths[1] ** 2 == pytest.approx(2, abs=0.05)  # 4 photos and 2
    worst, best = table_of(html, "Accuracy by region")
    assert worst[0] == "Sydney, Australia6b1" and best[0] == "Vienna, Austria476"
    low, high = analysis.wilson(3, 4)
    assert best[5] == f"75.0{low:.1f}\N{EN DASH}{high:.1f}"
    assert best[7] == "2,500"


def test_colours_of_regions_grow_lighter():
    def luminance(percent):
        red, green, blue = bytes.fromhex(report_page._scale(percent)[1:])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    assert np.all(np.diff([luminance(percent) for percent in range(0, 101, 5)]) > 0)


def test_tables_hold_what_analysis_counts(tmp_path):
    predictions = made_predictions()
    html = made_report(tmp_path / "report.html", predictions=predictions)
    pair, *_ = analysis.confused_pairs(predictions, 10).itertuples()
    first = table_of(html, "Most confused pairs of cells")[0]
    names = ["Vienna, Austria 476d", "Sydney, Australia 6b14", "New York City, United States 89c4"]
    assert first[0] == f"{names[pair.label]} → {names[pair.guess_label]}"
    assert first[1] == f"{pair.photos}{pair.of}" and first[3] == str(pair.back)
    cell, *_ = analysis.attractors(predictions, made_classes(), 10).itertuples()
    row = table_of(html, "Cells that attract wrong guesses")[0]
    assert (row[0], row[1]) == (names[cell.label], str(cell.wrong))
    assert (row[3], row[4]) == (f"{cell.train_share:.1f}", str(cell.right))
    ranges = table_of(html, "Accuracy by distance to the nearest training photo")
    assert ranges[-1][0] == "over 2,500"
    assert sum(int(row[1]) for row in ranges) == 60
    assert sum(int(row[1]) for row in table_of(html, "Accuracy by confidence")) == 60
    bins = analysis.reliability(predictions)
    assert [row[1] for row in table_of(html, "Reliability")] == [str(n) for n in bins["n"]]
    error = analysis.expected_calibration_error(bins)
    assert f"Expected calibration error: {error:.1f} percentage points." in html
    half, most = analysis.coverage(predictions)["share"]
    assert f"holds {half:.1f} % of the photos" in html and f"holds {most:.1f} %" in html


def test_reliability_curve_is_where_the_bins_are(tmp_path):
    predictions = made_predictions(4, confidence=[0.1, 0.1, 0.8, 0.8], label=0)
    predictions["guess_label"] = [0, 1, 0, 0]
    page = Page(made_report(tmp_path / "report.html", predictions=predictions))
    assert page.all("path", _class="points")[0]["d"] == "M10.0 50.0h0M80.0 0.0h0"


def test_worst_photos_are_listed_and_lead_to_those_shown(tmp_path):
    predictions = made_predictions()
    shown = set(predictions["photo_id"][:20])
    html = made_report(tmp_path / "report.html", predictions=predictions)
    for label, column in (("Largest loss", "loss"), ("Largest distance", "distance_km")):
        worst = predictions.sort_values(column, ascending=False)["photo_id"].head(10).tolist()
        listed = html[html.index(f'aria-label="{label}"') :].split("</ol>")[0]
        assert [part.split("</span>")[0] for part in listed.split("<li><span>")[1:]] == [
            f'<a class="photo" href="#{name}" data-photo="{name}">{name}</a>'
            if name in shown
            else name
            for name in worst
        ]


def test_data_of_a_photo(tmp_path):
    predictions = made_predictions(3)
    predictions.loc[0, ["latitude", "longitude"]] = (48.86, 2.35)
    predictions.loc[0, ["guess_latitude", "guess_longitude"]] = (-33.87, 151.21)
    predictions.loc[0, ["distance_km", "loss", "confidence"]] = (16960.44, 9.2512, 0.8304)
    data = explored(Page(made_report(tmp_path / "report.html", predictions=predictions)))
    photo = data["photos"][0]
    assert b64decode(photo["jpeg"]) == made_jpeg()
    assert (photo["true_position"], photo["guessed_position"]) == (
        "48.86° N, 2.35° E",
        "33.87° S, 151.21° E",
    )
    assert (photo["km"], photo["loss"], photo["confidence"]) == (16960.4, 9.251, 83.0)
    assert photo["top"] == [[1, 0.6], [0, 0.3]]
    assert photo["line"] == arc((48.86, 2.35), (-33.87, 151.21))
    assert photo["r90"] == circle((-33.87, 151.21), predictions["radius_90_km"][0])
    assert (photo["truth"], photo["guess"]) == ("M24 -489h0", "M1512 339h0")
    assert data["classes"]["1"] == {
        "name": "Sydney, Australia",
        "token": "6b14",
        "disc": circle((-33.87, 151.21), 200.0),
    }
    assert set(data["classes"]) == {"0", "1", "2"}


def test_data_of_a_photo_without_answer_or_picture(tmp_path):
    lost = made_predictions(1, label=-1, guess_label=-1, confidence=math.nan, loss=math.nan)
    numbers = ["guess_latitude", "guess_longitude", "distance_km", "radius_50_km", "radius_90_km"]
    lost[numbers] = math.nan
    photos = made_photos(lost, jpeg="", top=[])
    html = made_report(tmp_path / "report.html", predictions=lost, photos=photos)
    (photo,) = explored(Page(html))["photos"]
    for key in ("km", "loss", "confidence", "radius_50", "radius_90"):
        assert photo[key] is None
    assert photo["jpeg"] == photo["guessed_position"] == ""
    assert "guess" not in photo and "r50" not in photo and photo["truth"]
    assert "No photo inside a cell was answered." in html


def test_map_of_a_photo_holds_its_probable_places(tmp_path):
    predictions = made_predictions(1, latitude=50.0, longitude=3.0)
    predictions[["guess_latitude", "guess_longitude", "radius_50_km"]] = (48.0, 2.0, 400.0)

    def box(top):
        photos = made_photos(predictions, top=top)
        html = made_report(tmp_path / "report.html", predictions=predictions, photos=photos)
        return [int(side) for side in explored(Page(html))["photos"][0]["box"].split()]

    left, top, width, _ = box([(0, 0.9), (1, 0.01)])  # Vienna, hardly Sydney
    assert 100 < width < 300 and left < 2 * 10 - 50 and -top > 480 + 36
    assert box([(0, 0.6), (1, 0.3)])[2] == 3600


def test_hostile_text_stays_text(tmp_path):
    evil = '"></script><!--<script>alert(1)</script><img src=x onerror=alert(2)>'
    told = dict.fromkeys(("owner", *CREDIT), evil)
    predictions = made_predictions(3, photo_id=[evil, "b", "c"], **told)
    photos = made_photos(predictions, true_place=evil, guessed_place=evil)
    facts = {evil: evil}
    classes, regions = made_classes().assign(token=evil), made_regions().assign(region=evil)
    html = made_report(
        tmp_path / "report.html",
        predictions=predictions,
        photos=photos,
        facts=facts,
        classes=classes,
        regions=regions,
    )
    page = Page(html)
    assert len(page.all("script")) == 2
    assert all("onerror" not in element for element in page.tags)
    assert all(link["href"].startswith("#") for link in page.all("a") if "href" in link)
    told = [credit["text"] for credit in credits_of(html).all("li")]
    assert told == 3 * [f"{evil} by {evil}, {evil}"]
    assert explored(page)["photos"][0]["id"] == evil
    assert page.all("a", _class="photo")[0]["data-photo"] in (evil, "b", "c")


@pytest.mark.parametrize("shown", [1, 20])
def test_every_photo_shown_has_a_credit(tmp_path, shown):
    predictions = made_predictions()
    photos = made_photos(predictions, shown)[::-1]
    html = made_report(tmp_path / "report.html", predictions=predictions, photos=photos)
    credits = credits_of(html)
    titles = [f"Street {name.removeprefix('photo-')}" for name in photos["photo_id"]]
    assert [each["text"] for each in credits.all("li")] == [
        f"{title} by Ann, CC BY 2.0" for title in titles
    ]
    links = ["https://www.flickr.com/photos/12/34", "https://creativecommons.org/licenses/by/2.0/"]
    assert [link["href"] for link in credits.all("a")] == links * shown
    explorer = explored(Page(html))["photos"]  # its cards take credits in the same order
    assert [each["id"] for each in explorer] == photos["photo_id"].tolist()
    [details] = Page(html).all("details")
    assert "open" not in details and f"the {shown} photos shown" in details["text"]


def test_photos_that_were_drawn_are_said_to_be(tmp_path):
    assert "nobody need be credited" in made_report(tmp_path / "drawn.html", drawn=True)
    assert "nobody need be credited" not in made_report(tmp_path / "real.html")


@pytest.mark.skipif(not CHROMIUM, reason="this needs Debian's chromium")
def test_a_card_carries_its_photo_s_credit(tmp_path):
    predictions = made_predictions(3, title=["<b>\u202eStreet", "", "Square"])
    predictions["page_url"] = ["javascript:alert(1)", "https://example.org/b", ""]
    path = tmp_path / "report.html"
    made_report(path, predictions=predictions)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, errors = browser.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        page.select_option("#order", "id")
        cards = page.locator("#cards [data-field=credit]")
        assert cards.all_text_contents() == [
            f"{title} by Ann, CC BY 2.0" for title in ("<b>\u202eStreet", "photo-1", "Square")
        ]
        by = "https://creativecommons.org/licenses/by/2.0/"
        links = [
            card.locator("a").evaluate_all("all => all.map((a) => a.href)") for card in cards.all()
        ]
        assert links == [[by], ["https://example.org/b", by], [by]]
        page.fill("#search", "square")
        assert page.locator("#count").inner_text() == "1 of 3 photos"
        page.goto(f"{path.as_uri()}#photo-1")
        opened = page.locator("#opened [data-field=credit]")
        assert opened.text_content() == "photo-1 by Ann, CC BY 2.0"
        assert not errors
        browser.close()


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
    html = made_report(
        tmp_path / "report.html",
        sets=[photo_set],
        predictions=made_predictions(0),
        regions=made_regions().head(0),
        photos=made_photos(made_predictions(0)),
    )
    assert "There was no photo to test on." in html
    assert {cell["text"] for cell in Page(html).all("td")} == {"0", "no answer"}
    assert results_table(rows).count("no answer") == 5


def test_page_stays_small(tmp_path):
    predictions = made_predictions(1000)
    top = [(label, 0.3) for label in range(3)] * 4
    photos = made_photos(predictions, 300, jpeg=b64encode(bytes(5000)).decode(), top=top)
    html = made_report(tmp_path / "report.html", predictions=predictions, photos=photos)
    assert len(html) < 4_000_000


def test_figures_and_fields_have_names_for_who_cannot_see_them(tmp_path):
    page = Page(made_report(tmp_path / "report.html"))
    named = [svg.get("aria-label") or svg.get("aria-hidden") for svg in page.all("svg")]
    assert named.count(None) == 1  # the one in the template, which report.js names
    assert all(label["text"].strip() for label in page.all("label"))
    assert len(page.all("label")) == 6
    assert all(button.get("aria-label") or button["text"] for button in page.all("button"))
    assert page.all("html")[0]["lang"] == "en-GB"


def test_script_finds_the_elements_that_it_asks_for(tmp_path):
    page = Page(made_report(tmp_path / "report.html"))
    script = page.all("script")[1]["text"]
    asked = set(re.findall(r"\bat\(\"([a-z-]+)\"\)", script))
    assert asked and asked <= {tag.get("id") for tag in page.tags}
    ids = [tag["id"] for tag in page.tags if tag.get("id")]
    assert len(ids) == len(set(ids))
    fields = {tag["data-field"] for tag in page.tags if tag.get("data-field")}
    filled = set(
        re.findall(r"^    (\w+): ", script.split("const text = {")[1].split("};")[0], re.M)
    )
    assert fields == filled | {"credit"}
    options = {option["value"] for option in page.all("option")}
    filters = set(re.findall(r"^  (\w+)[:,]", script.split("FILTERS = {")[1].split("};")[0], re.M))
    keys = set(explored(page)["photos"][0])
    assert filters <= options and options - filters <= keys


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
