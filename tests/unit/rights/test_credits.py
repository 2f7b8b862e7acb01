import csv
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nogps.rights import credits

EVIL = "\"'></a><script>alert(1)</script>&amp;\u202e\u200f\nx"
LINK = "https://example.org/a?b=1&c=2"


class Items(HTMLParser):
    """The items of a list: each its text, its links, and the tags in it."""

    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], []
        self.feed(str(html))
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "li":
            self.found.append({"text": "", "links": [], "tags": set()})
        elif self.found:
            self.found[-1]["tags"].add(tag)
        if tag == "a":
            self.found[-1]["links"].append(dict(attributes)["href"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "li" in self.open:
            self.found[-1]["text"] += data


def credited(*photos: dict) -> pd.DataFrame:
    photo = {"photo_id": "1", "owner": "12@N00", "licence": "CC BY 2.0", "page_url": LINK}
    return credits.table(pd.DataFrame([photo | columns for columns in photos]))


def items(*photos: dict) -> list[dict]:
    found = Items(credits.listed(credited(*photos).to_dict("records"))).found
    assert len(found) == len(photos)
    return found


def item(**columns) -> dict:
    [found] = items(columns)
    return found


def test_what_is_missing_falls_back():
    photos = pd.DataFrame(
        {
            "photo_id": ["a", "b", "c"],
            "title": ["A town", " ", None],
            "author": ["Ann", "", ""],
            "owner": ["ann@N00", "ben@N00", ""],
            "licence": ["cc-by-sa-4.0", "CC BY 2.0", "© Google"],
            "licence_url": ["https://example.org/licence", "javascript:0", ""],
            "source": ["commons", "flickr", "streetview"],
            "latitude": [1.0, 2.0, 3.0],
        },
        index=[7, 3, 5],
    )
    found = credits.table(photos)
    assert list(found.columns) == list(credits.COLUMNS)
    assert found.index.tolist() == [7, 3, 5]
    assert found["title"].tolist() == ["A town", "b", "c"]
    assert found["author"].tolist() == ["Ann", "ben@N00", ""]
    by = "https://creativecommons.org/licenses/by/2.0/"
    assert found["licence_url"].tolist() == ["https://example.org/licence", by, ""]
    assert found["page_url"].tolist() == ["", "", ""]
    assert photos["title"].tolist()[:2] == ["A town", " "]  # as it was


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
awkward = texts | st.sampled_from(['a,"b"', "a\nb", "a\rb", "a\r\nb", "NA", "", EVIL, "=1+1"])


@settings(max_examples=40)
@given(st.lists(st.tuples(awkward, awkward, awkward), max_size=8))
def test_the_file_holds_the_table(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "attribution.csv"
    found = credits.table(pd.DataFrame(rows, columns=["photo_id", "title", "author"]))
    credits.write(path, found)
    with path.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert read == found.to_dict("records")
    body = path.read_bytes()
    credits.write(path, found)
    assert path.read_bytes() == body
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_photos_whose_licence_asks_for_more_than_is_known_are_counted():
    photos = pd.DataFrame(
        [
            ("CC BY 2.0", "Ann", LINK, 0),
            ("CC BY-SA 4.0", "", LINK, 1),
            ("etalab-2.0", "Ann", "", 1),
            ("CC BY 4.0", "Ann", "javascript:alert(1)", 1),
            ("CC0", "", "", 0),
            ("Public Domain Mark", "", "", 0),
            ("All Rights Reserved", "", "", 0),
            ("", "", "", 0),
        ],
        columns=["licence", "author", "page_url", "lacks"],
    ).assign(photo_id="a")
    for row in range(len(photos)):
        one = photos.iloc[[row]]
        assert credits.without_credit(credits.table(one)) == one["lacks"].sum(), row
    assert credits.without_credit(credits.table(photos)) == 3


def test_a_credit_is_title_author_licence_and_links():
    found = item(title="A town", author="Ann")
    assert found["text"] == "A town by Ann, CC BY 2.0"
    assert found["links"] == [LINK, "https://creativecommons.org/licenses/by/2.0/"]
    bare = item(owner="", licence="", page_url="")
    assert (bare["text"], bare["links"]) == ("1, no licence stated", [])


@pytest.mark.parametrize("name", ["photo_id", "title", "author", "licence", "owner"])
def test_hostile_text_stays_text(name):
    found = item(**{name: EVIL})
    assert EVIL in found["text"]
    assert found["tags"] <= {"a", "bdi"}


NO_LINKS = (
    "javascript:alert(1)",
    " javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "//example.org/",
    "ftp://example.org/",
    "https:alert(1)",
    "https://",
    "httpsx://a",
    f"javascript:alert(1)//{LINK}",
    "\x01javascript:alert(1)",
)


@pytest.mark.parametrize("name", ["licence_url", "page_url"])
@settings(max_examples=30)
@given(st.lists(st.text(), max_size=20))
def test_what_is_not_http_is_no_link(name, urls):
    for found in items(*({"licence": "CC X", name: url} for url in [*NO_LINKS, *urls])):
        assert found["links"] == ([] if name == "page_url" else [LINK])
        assert found["tags"] <= {"a", "bdi"}


QUOTES = ('"', '" onclick="x', '"><script>', "'", "&quot;", "&amp;")


@settings(max_examples=30)
@given(st.lists(st.text(), max_size=20))
def test_a_link_keeps_its_quotes_to_itself(texts):
    ends = [*QUOTES, *texts]
    licence = "https://creativecommons.org/licenses/by/2.0/"
    for end, found in zip(
        ends, items(*({"page_url": "https://a" + end} for end in ends)), strict=True
    ):
        assert found["links"] == ["https://a" + end, licence]
        assert found["tags"] == {"a", "bdi"}


def test_what_runs_from_right_to_left_turns_round_nothing_else():
    html = credits.listed(
        credited({"title": "\u202etxt", "author": "\u202eNNA"}).to_dict("records")
    )
    assert "<bdi>\u202etxt</bdi>" in html and "<bdi>\u202eNNA</bdi>" in html


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        ("CC BY 3.0", True),
        ("CC BY-SA 2.5", True),
        ("No known copyright restrictions", True),
        ("etalab-2.0", True),
        ("CC BY-SA 1.0", False),
        ("CC BY-NC 2.0", False),
        ("CC BY-ND 2.0", False),
        ("All Rights Reserved", False),
        ("", False),
    ],
)
def test_what_may_be_shown(licence, free):
    assert credits.is_free(licence) is free
