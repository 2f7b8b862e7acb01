"""Whom to credit for each photo: the table, and the list of credits that pages show."""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from nogps.base.files import replacing
from nogps.rights import licences

CREDIT = ("title", "author", "licence", "licence_url", "page_url")  # what a credit tells
COLUMNS = ("photo_id", *CREDIT, "source", "owner")

# People write titles from right to left too: <bdi> keeps each from turning round what follows.
_LIST = """
{% macro linked(text, url) %}
{% if url | is_link %}<a href="{{ url }}" rel="noreferrer"><bdi>{{ text }}</bdi></a>
{%- else %}<bdi>{{ text }}</bdi>{% endif %}
{% endmacro %}
<ol class="credits">
{% for each in credits %}
<li>{{ linked(each.title, each.page_url) }}{% if each.author %} by <bdi>{{ each.author }}</bdi>\
{% endif %}, {{ linked(each.licence or "no licence stated", each.licence_url) }}</li>
{% endfor %}
</ol>"""


def table(photos: pd.DataFrame) -> pd.DataFrame:
    """COLUMNS of each photo as text, in the same order; "" where nobody knows.

    A photo without a title goes by its id, one without an author by its owner, and one without a
    link to its licence has the licence's own. Missing columns of a `sources.Candidate` are empty.
    """
    unknown = dict.fromkeys(set(COLUMNS) - set(photos.columns), "")
    found = photos.assign(**unknown)[[*COLUMNS]].fillna("").astype(str)
    for name, other in (("title", "photo_id"), ("author", "owner")):
        found[name] = found[name].where(found[name].str.strip() != "", found[other])
    own = found["licence"].map({text: _known(text).url for text in found["licence"].unique()})
    found["licence_url"] = found["licence_url"].where(found["licence_url"].map(is_link), own)
    return found


def write(path: Path, credited: pd.DataFrame) -> None:
    """Write a table as CSV: UTF-8, every field in quotes, a line feed after each row."""
    with replacing(path) as temporary:
        credited.to_csv(temporary, index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)


def without_credit(credited: pd.DataFrame) -> int:
    """How many photos lack an author or a link, though their free licence asks for both."""
    families = {text: _known(text).family for text in credited["licence"].unique()}
    asked = credited["licence"].map(families).isin(licences.CREDITED)
    return int((asked & ((credited["author"] == "") | ~credited["page_url"].map(is_link))).sum())


def listed(credits: Iterable[Mapping[str, str]]) -> Markup:
    """HTML of a list of credits, an item each, from what CREDIT names of each photo."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["is_link"] = is_link
    return Markup(environment.from_string(_LIST).render(credits=credits).strip())


def is_link(url: str) -> bool:
    """Whether a page may link there: http or https, and nothing that runs."""
    return re.match(r"https?://[^\s/]", url, re.IGNORECASE) is not None


def is_free(text: str) -> bool:
    """Whether photos under a licence may be shown and changed by all, as its family says."""
    return _known(text).family in licences.FREE


def _known(text: str) -> licences.Licence:
    return licences.licence_of(text) or licences.Licence("", "")
