import io
import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image

from nogps.earth import geo
from nogps.model.guess import Guess
from nogps.model.locator import Locator
from nogps.report import map_page, svg
from nogps.report.map_page import Located, write_map_page
from tests.locators import CALIBRATION, answering, drawn, over_the_world
from tests.pictures import encoded, picture

VOID = {"meta", "img", "br", "link", "input", "hr"}
ODD = ["<b>&.jpg", '"><script>alert(1)</script>.jpg', "O'Brien {{ 7 * 7 }}.jpg", "søndag 日.jpg"]


class Page(HTMLParser):
    """Elements with their attributes and texts; a tag that is not closed in turn is an error."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict, list[str]]] = []
        self.open: list[tuple[str, dict, list[str]]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        element = (tag, dict(attributes), [])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, text):
        for _, _, texts in self.open:
            texts.append(text)

    def all(self, tag: str, **attributes) -> list[dict]:
        return [
            {**found, "text": " ".join("".join(texts).split())}
            for name, found, texts in self.elements
            if name == tag and attributes.items() <= found.items()
        ]


def locator(**given) -> Locator:
    return answering(over_the_world(), calibration=CALIBRATION, **given)


def guesses(n: int) -> list[Guess]:
    asked = locator()
    return asked.guesses(asked.answers(drawn(over_the_world(), n, seed=3, size=4)[0]))


def located(n: int, names=None, gps=None) -> list[Located]:
    body = encoded(picture(400, 300))
    return [
        Located([names[each] if names else f"{each}.jpg"], body, guess, gps)
        for each, guess in enumerate(guesses(n))
    ]


def written(path: Path, answers: list[Located], **given) -> tuple[str, Page]:
    write_map_page(path / "map.html", answers, locator(**given))
    html = (path / "map.html").read_text("utf-8")
    return html, Page(html)


def dots(page: Page) -> int:
    """Of all answers, on the map of all, which is the first."""
    return page.all("path", **{"class": "guess"})[0]["d"].count("M")


def test_each_photo_has_a_card(tmp_path):
    answers = located(3, gps=(48.8566, 2.3522))
    (tmp_path / "photo.png").write_bytes(encoded(picture(300, 400, seed=1), "PNG"))
    answers[1] = Located(["1.jpg"], tmp_path / "photo.png", answers[1].guess)
    _, page = written(tmp_path, answers)
    cards = page.all("li")
    assert len(cards) == len(page.all("img")) == 3 and dots(page) == 3
    for one, card, image in zip(answers, cards, page.all("img"), strict=True):
        guess = one.guess
        assert guess.place in card["text"] and guess.sureness in card["text"]
        assert card["text"].endswith(one.names[0]) and guess.place in image["alt"]
        said = "km from where its GPS says it was taken"
        assert (said in card["text"]) == (one.gps is not None)
        if one.gps:
            assert f"{one.off_km:,.0f} {said}" in card["text"]
        kind, body = image["src"].split(",")
        assert kind == "data:image/jpeg;base64"
        thumbnail = Image.open(io.BytesIO(b64decode(body, validate=True)))
        assert thumbnail.format == "JPEG" and max(thumbnail.size) == map_page.THUMBNAIL
        assert (thumbnail.width < thumbnail.height) == (one is answers[1])


def test_each_card_has_its_map(tmp_path):
    answers = located(2, gps=(48.8566, 2.3522))
    answers[1] = Located(["1.jpg"], answers[1].photo, answers[1].guess)
    html, _ = written(tmp_path, answers)
    for one, part in zip(answers, html.split("<li>")[1:], strict=True):
        card = Page(part.split("</li>")[0])
        told = [tuple(each["text"] for each in card.all(tag)) for tag in ("dt", "dd")]
        assert list(zip(*told, strict=True)) == [
            (cell.place, f"{100 * cell.probability:.1f} %") for cell in one.guess.cells
        ]
        here = (one.guess.latitude, one.guess.longitude)
        [r50], [r90] = (card.all("path", **{"class": name}) for name in ("r50", "r90"))
        assert r50["d"] == svg.circle(here, one.guess.radius_50_km)
        assert r90["d"] == svg.circle(here, one.guess.radius_90_km) != r50["d"]
        [guess], [truth] = (card.all("path", **{"class": name}) for name in ("guess", "truth"))
        assert guess["d"] == svg.dot(here)
        assert truth["d"] == (svg.dot(one.gps) if one.gps else "")
        [line] = card.all("path", **{"class": "line"})
        assert bool(line["d"]) == (one.gps is not None)
        discs = card.all("path", **{"class": "disc"})
        fullness = [float(each["opacity"]) for each in discs]
        assert len(fullness) == len(one.guess.cells)
        assert (
            fullness == sorted(fullness, reverse=True) and 0 <= min(fullness) <= max(fullness) < 1
        )
        spread = over_the_world().spread_km()
        for disc, cell in zip(discs, one.guess.cells, strict=True):
            [radius] = spread[over_the_world().tokens == cell.token]
            assert disc["d"] == svg.circle((cell.latitude, cell.longitude), radius)


def test_the_page_needs_no_network_and_runs_nothing(tmp_path):
    html, page = written(tmp_path, located(2))
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html)
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    assert not re.search(r"\son[a-z]+\s*=", html)
    [policy] = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(each.strip().split(" ", 1) for each in policy["content"].split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    assert rules.keys() <= {"default-src", "img-src", "style-src", "base-uri", "form-action"}
    assert {each["href"] for each in page.all("use")} == {"#land"}
    assert page.all("g", id="land")


def test_the_page_can_be_read_aloud(tmp_path):
    _, page = written(tmp_path, located(2))
    assert [each["lang"] for each in page.all("html")] == ["en-GB"]
    assert page.all("meta", charset="utf-8") and page.all("meta", name="viewport")
    assert len(page.all("h1")) == len(page.all("title")) == 1 and len(page.all("h2")) == 2
    for each in page.all("svg"):
        assert each["role"] == "img" and each["aria-label"]
    assert all(each["alt"] for each in page.all("img"))
    assert "Do not use nogps to find, follow or expose people" in page.all("footer")[0]["text"]


def test_odd_names_are_only_text(tmp_path):
    html, page = written(tmp_path, located(4, names=ODD))
    assert all(each["text"].endswith(odd) for each, odd in zip(page.all("li"), ODD, strict=True))
    assert [each["text"] for each in page.all("small")][1:] == ODD
    assert len(page.all("b")) == 1 and not page.all("script")  # of the legend
    assert "<b>&." not in html and "&lt;b&gt;&amp;.jpg" in html


def test_photos_of_one_place_have_one_card(tmp_path):
    [one] = located(1)
    together = Located(["a.jpg", "b.jpg", "<c>.jpg"], one.photo, one.guess)
    _, page = written(tmp_path, [together])
    [card] = page.all("li")
    assert card["text"].endswith("a.jpg, b.jpg, <c>.jpg")
    assert page.all("h1")[0]["text"] == "Where a photo was taken, by the pixels alone"


def test_of_many_photos_the_first_have_cards_and_all_have_dots(tmp_path, monkeypatch):
    monkeypatch.setattr(map_page, "SHOWN", 2)
    html, page = written(tmp_path, located(5))
    assert len(page.all("li")) == 2 and dots(page) == 5
    assert "2 of 5 answers are shown with their photo" in html
    html, page = written(tmp_path, located(2))
    assert len(page.all("li")) == 2 and "answers are shown with" not in html


@pytest.mark.parametrize("there", [(89.9, 10.0), (-89.9, 10.0), (0.0, 180.0), (5.0, -179.99)])
def test_answers_at_the_ends_of_the_map_are_drawn(there, tmp_path):
    scores = torch.zeros(1, len(over_the_world()))
    away = geo.distance_km(*there, *over_the_world().points())
    scores[0, int(away.argmin())] = 30
    locator = answering(over_the_world(), calibration=CALIBRATION)
    [guess] = locator.guesses(locator.answers(scores))
    _, page = written(tmp_path, [Located(["a.jpg"], encoded(picture()), guess, there)])
    assert len(page.all("li")) == 1
    for each in page.all("svg"):
        width, height = map(float, each["viewbox"].split()[2:])
        assert 0 < width <= 3600 and 0 < height <= 1800


def test_a_photo_that_has_gone_keeps_its_map(tmp_path):
    gone = Located(["gone.jpg"], tmp_path / "gone.jpg", guesses(1)[0])
    _, page = written(tmp_path, [*located(1), gone])
    assert len(page.all("li")) == 2 and len(page.all("img")) == 1


def test_it_says_what_the_model_learned_from_and_what_the_dots_are(tmp_path):
    of = {"about": {"trained_on": "7 photos (folder)"}}
    _, page = written(tmp_path, located(2, gps=(48.8566, 2.3522)), **of)
    (caption,) = (each["text"] for each in page.all("small") if "solid circle" in each["text"])
    assert "● guess, ● where GPS says" in caption
    assert caption.endswith("The model: it learned from 7 photos (folder).")
    assert page.all("path", **{"class": "truth"})[0]["d"].count("M") == 2
    _, page = written(tmp_path, located(2))
    (caption,) = (each["text"] for each in page.all("small") if "solid circle" in each["text"])
    assert "GPS" not in caption and "The model" not in caption
    assert page.all("path", **{"class": "truth"})[0]["d"] == ""


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path, monkeypatch):
    page = tmp_path / "map.html"
    page.write_text("the old one")
    monkeypatch.setattr("nogps.photos.images.thumbnail", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_map_page(page, located(1), locator())
    assert page.read_text() == "the old one" and list(tmp_path.iterdir()) == [page]


def test_off_km_and_what_json_holds():
    [one] = located(1, gps=(48.8566, 2.3522))
    there = one.guess.latitude, one.guess.longitude
    assert one.off_km == geo.distance_km(48.8566, 2.3522, *there)
    assert one.to_dict() == {
        "photo": "0.jpg",
        "gps": {"latitude": 48.8566, "longitude": 2.3522},
        "off_km": one.off_km,
        **one.guess.to_dict(),
    }
    feature = one.to_geojson()
    assert feature["properties"]["gps"] == {"latitude": 48.8566, "longitude": 2.3522}
    assert feature["geometry"] == one.guess.to_geojson()["geometry"]
    [plain] = located(1)
    assert plain.off_km is None and plain.to_dict()["gps"] is None
