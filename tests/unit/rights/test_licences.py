import re
from itertools import permutations

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nogps.acquire.sources.flickr_api import LICENCES as FLICKR
from nogps.rights import licences
from nogps.rights.licences import FREE, for_model, licence_of

OSM = "https://panoramax.openstreetmap.fr/images/1/2.jpg"
IGN = "https://panoramax.ign.fr/api/pictures/1/hd.jpg"
KNOWN = (
    ["CC0", "cc-zero", "Public Domain Mark", "pd-old-100", "US Government work", "etalab-2.0"]
    + [f"CC BY{terms} {version}" for terms in ("", "-SA", "-NC", "-NC-SA") for version in (2, 4)]
    + ["CC BY-ND 2.0", "CC BY-NC-ND 4.0", "CC BY-SA 1.0", "CC BY-NC-SA 1.0", "CC BY 1.0"]
)
KNOWN = [re.sub(r" (\d)$", r" \1.0", each) for each in KNOWN]
ONLY = "Public domain in the United States only"
UNKNOWN = ["", "All Rights Reserved", "© Google", "proprietary", "CC BY", "CC BY-XX 2.0", "CC"]


def photos(*rows) -> pd.DataFrame:
    """A photo for each licence, or pair of licence and url."""
    pairs = [row if isinstance(row, tuple) else (row, "") for row in rows]
    return pd.DataFrame(pairs, columns=["licence", "url"])


# Texts


@pytest.mark.parametrize(
    ("text", "name", "family"),
    [
        ("CC0", "CC0 1.0", "CC0"),
        ("cc-zero", "CC0 1.0", "CC0"),
        ("CC0-1.0", "CC0 1.0", "CC0"),
        ("Public Domain Mark", "Public Domain Mark", "public domain"),
        ("pd-old", "Public domain", "public domain"),
        ("No known copyright restrictions", "No known copyright restrictions", "public domain"),
        ("US Government work", "US Government work", "public domain"),
        ("etalab-2.0", "Licence Ouverte 2.0", "Licence Ouverte"),
        ("CC BY 2.0", "CC BY 2.0", "CC BY"),
        ("cc-by-4.0", "CC BY 4.0", "CC BY"),
        ("CC-BY-SA-4.0", "CC BY-SA 4.0", "CC BY-SA"),
        ("cc-by-sa-3.0-de", "CC BY-SA 3.0", "CC BY-SA"),
        ("cc-by-sa-2.5,2.0,1.0", "CC BY-SA 2.5", "CC BY-SA"),
        ("cc-by-sa-3.0-migrated", "CC BY-SA 3.0", "CC BY-SA"),
        ("CC BY-SA 1.0", "CC BY-SA 1.0", "CC BY-SA 1.0"),
        ("CC BY-NC-SA 2.0", "CC BY-NC-SA 2.0", "CC BY-NC-SA"),
        ("CC BY-NC-ND 4.0", "CC BY-NC-ND 4.0", "CC BY-NC-ND"),
        ("cc-by-nd-nc-1.0", "CC BY-NC-ND 1.0", "CC BY-NC-ND"),
        ("pdm-owner", "Public domain", "public domain"),
        ("PDM 1.0", "PDM 1.0", "public domain"),
        ("No restrictions", "No restrictions", "public domain"),
    ],
)
def test_what_sources_write(text, name, family):
    found = licence_of(text)
    assert (found.name, found.family) == (name, family)


@pytest.mark.parametrize(
    "text", [*UNKNOWN, "CC BY \u0663.\u0660", "CC BY-ND-SA 2.0", "CC BY 0.9", ONLY]
)
def test_what_is_no_licence_that_we_know(text):
    assert licence_of(text) is None


def test_all_of_flickr_but_reserved_rights_are_known():
    assert [text for text in FLICKR.values() if licence_of(text) is None] == ["All Rights Reserved"]


@given(st.sampled_from(KNOWN), st.data())
def test_case_and_separators_do_not_matter(text, data):
    written = "".join(
        data.draw(st.sampled_from(["-", "_", " ", "  "]))
        if each in " -"
        else data.draw(st.sampled_from([each.lower(), each.upper()]))
        for each in text
    )
    assert licence_of(written).family == licence_of(text).family
    assert licence_of(f" {written}\n").family == licence_of(text).family


@given(
    st.text() | st.from_regex(r"(?i)(cc|pd|public domain|lo)[ _-]?[a-z0-9 ._-]*", fullmatch=True)
)
@example("CC BY-SA 4.0<script>")
@example("pd\u202e")
def test_any_text_is_a_licence_that_stays_itself_or_none(text):
    found = licence_of(text)
    if found is None:
        return
    assert found.name and licence_of(found.name).family == found.family
    assert found.url == "" or re.fullmatch(r"https://[a-z.]+/[a-z0-9./-]+", found.url)


@given(st.text(alphabet="abcnrdsy-. 01234"))
def test_a_free_licence_never_says_nc_or_nd(text):
    found = licence_of(f"CC BY{text}")
    if found and found.family in FREE:
        assert not {"nc", "nd"} & set(re.split(r"[ -]", text.lower()))


# The model


@pytest.mark.parametrize(
    ("rows", "name", "why"),
    [
        (["CC0", "Public Domain Mark"], "CC0 1.0", "free choice"),
        (["CC BY 2.0", "CC0"], "CC BY 4.0", "attribution: 1 of 2 photos under CC BY"),
        (["etalab-2.0", "etalab-2.0"], "CC BY 4.0", "2 of 2 photos under Licence Ouverte"),
        (["etalab-2.0", "CC BY 4.0"], "CC BY 4.0", "2 of 2 photos under CC BY or Licence Ouverte"),
        (
            ["CC BY-SA 2.0", "CC BY 4.0"],
            "CC BY-SA 4.0",
            "share-alike: 1 of 2 photos under CC BY-SA",
        ),
        (["cc-by-sa-2.5", "CC BY-SA 4.0", "CC0"], "CC BY-SA 4.0", "2 of 3"),
        (["CC BY-SA 1.0", "CC BY-SA 1.0"], "CC BY-SA 1.0", "2 of 2"),
        (["CC BY-SA 1.0", "CC0"], "CC BY-SA 1.0", "1 of 2"),
        (["CC BY-SA 1.0", "CC BY-SA 2.0"], "none fits", "1 of 2 photos under CC BY-SA 1.0"),
        (["CC BY-SA 1.0", "CC BY 2.0"], "none fits", "1 of 2"),
        ([("CC BY-SA 4.0", OSM)], "CC BY 4.0", "OpenStreetMap-France"),
        ([("CC BY-SA 4.0", OSM), ("etalab-2.0", IGN)], "CC BY 4.0", "2 of 2"),
        ([("CC BY-SA 4.0", OSM), "CC BY 2.0", "CC0"], "CC BY 4.0", "2 of 3"),
        ([("CC BY-SA 4.0", OSM), "CC BY-SA 4.0"], "CC BY-SA 4.0", "2 of 2"),
        ([("CC BY-SA 4.0", OSM), "CC BY-SA 1.0"], "none fits", "version 1.0"),
        ([("CC BY-SA 3.0", OSM)], "CC BY-SA 4.0", "share-alike"),
        ([("CC BY-SA 4.0", IGN)], "CC BY-SA 4.0", "share-alike"),
        (["CC BY-NC 2.0", "CC BY 2.0"], "CC BY-NC 4.0", "not for commercial use: 1 of 2"),
        (["CC BY-NC 2.0", "CC BY-NC-SA 2.0"], "CC BY-NC-SA 4.0", "not for commercial use: 2 of 2"),
        (["CC BY-NC 2.0", "CC BY-SA 2.0"], "none fits", "both free and not commercial: 2 of 2"),
        (["CC BY-NC-SA 1.0"], "CC BY-NC-SA 1.0", "share-alike"),
        (["CC BY-NC-SA 1.0", "CC BY-NC 2.0"], "none fits", "version 1.0"),
        (["CC BY-NC 2.0", ("CC BY-SA 4.0", OSM)], "none fits", "both free and not commercial"),
        (["CC BY-ND 2.0", "CC BY-NC 2.0", "CC BY-SA 1.0"], "not to be published", "1 of 3"),
        (["", "CC BY-ND 2.0"], "only what law or the owners allow", "not determined: 1 of 2"),
        (["© Google"], "only what law or the owners allow", "1 of 1"),
        ([None, "CC0"], "only what law or the owners allow", "1 of 2"),
        (["CC0", "All Rights Reserved"], "only what law or the owners allow", "1 of 2"),
    ],
)
def test_the_licence_that_a_model_must_carry(rows, name, why):
    for order in permutations(rows):
        found = for_model(photos(*order))
        assert found.startswith(f"{name} (") and found.endswith(")") and why in found


@pytest.mark.parametrize(
    ("url", "theirs"),
    [
        ("https://openstreetmap.fr/a.jpg", True),
        ("https://PANORAMAX.OpenStreetMap.fr:443/a.jpg", True),
        ("https://panoramax.openstreetmap.fr", True),
        ("https://evilopenstreetmap.fr/a.jpg", False),
        ("https://openstreetmap.fr.example.org/a.jpg", False),
        ("https://openstreetmap.fr@example.org/a.jpg", False),
        ("https://example.org/panoramax.openstreetmap.fr/a.jpg", False),
        ("https://example.org?https://openstreetmap.fr/", False),
        ("https://example.org\\.openstreetmap.fr/a.jpg", False),
        ("photos/openstreetmap.fr", False),
    ],
)
def test_only_their_own_host_is_openstreetmap_france(url, theirs):
    name = for_model(photos(("CC BY-SA 4.0", url))).partition(" (")[0]
    assert name == ("CC BY 4.0" if theirs else "CC BY-SA 4.0")


def test_what_this_program_drew_is_free():
    reserved = photos("All Rights Reserved")
    assert for_model(reserved, synthetic=True).partition(" (")[0] == "CC0 1.0"
    assert for_model(reserved).partition(" (")[0] == "only what law or the owners allow"


STRICTER = [
    ["CC0 1.0"],
    ["CC BY 4.0"],
    ["CC BY-SA 4.0", "CC BY-SA 1.0", "CC BY-NC 4.0", "CC BY-NC-SA 4.0", "CC BY-NC-SA 1.0"],
    ["none fits"],
    ["not to be published"],
    ["only what law or the owners allow"],
]
some = st.lists(st.tuples(st.sampled_from(KNOWN + UNKNOWN), st.sampled_from(["", OSM])))


@given(some, some)
def test_more_photos_never_loosen_it(some, more):
    def strictness(rows):
        name = for_model(photos(*rows)).partition(" (")[0]
        [found] = [n for n, names in enumerate(STRICTER) if name in names]
        return found

    assert strictness(some + more) >= max(strictness(some), strictness(more))


@given(some)
def test_a_free_licence_is_given_only_where_all_photos_are_free(rows):
    found = for_model(photos(*rows)).partition(" (")[0]
    if found in ("CC0 1.0", "CC BY 4.0", "CC BY-SA 4.0"):
        assert all(licence_of(text).family in FREE for text, _ in rows)


def test_licences_are_counted_the_most_frequent_first():
    texts = pd.Series(["CC BY 2.0", "", "CC BY 2.0", *(f"licence {n}" for n in range(12))])
    told = licences.counted(texts)
    assert told.startswith("CC BY 2.0 (2), none stated (1), ")
    assert told.endswith(", 4 others") and told.count(",") == 10


def test_free_is_what_anybody_may_change_hand_on_and_sell():
    free = ("cc0", "pd-old", "CC BY 4.0", "CC BY-SA 4.0", "etalab-2.0")
    bound = ("CC BY-NC 4.0", "CC BY-ND 2.0", "CC BY-NC-SA 3.0", "CC BY-NC-ND 4.0")
    found = {text: licence_of(text).family in FREE for text in (*free, *bound)}
    assert found == dict.fromkeys(free, True) | dict.fromkeys(bound, False)


def test_who_must_be_credited():
    assert {each for each in FREE if each in licences.CREDITED} == {
        "CC BY",
        "CC BY-SA",
        "Licence Ouverte",
    }
