"""Licences of photos: which one a text means, which one a model must carry."""

import re
from dataclasses import dataclass
from operator import attrgetter

import pandas as pd

CC0, PUBLIC_DOMAIN, BY, BY_SA = "CC0", "public domain", "CC BY", "CC BY-SA"
OUVERTE = "Licence Ouverte"
FREE = (CC0, PUBLIC_DOMAIN, BY, BY_SA, OUVERTE)  # to be kept, changed and handed on
CREDITED = (BY, BY_SA, OUVERTE)  # of these, those that ask for the author's name and a link

# What else `for_model` tells apart.
_BY_SA_FRANCE = "CC BY-SA of OpenStreetMap-France"
_UNKNOWN = "no licence that is known"
_FRANCE = r"https?://(?:[\w-]+\.)*openstreetmap\.fr(?::\d+)?(?:[/?#]|\Z)"
_NAMED = 10  # licences, where they are counted

_OUVERTE_URL = "https://www.etalab.gouv.fr/licence-ouverte-open-licence"


@dataclass(frozen=True)
class Licence:
    """A licence, by its usual name, and the family of its terms."""

    name: str  # as people write it: CC BY-SA 4.0
    family: str  # one of FREE, or such as "CC BY-NC"
    url: str = ""


def licence_of(text: str) -> Licence | None:
    """The licence that a source means; None where that is none we know.

    Knows how Flickr, Wikimedia Commons (`cc-by-sa-3.0`, `pd-old`), Panoramax (SPDX, `etalab-2.0`)
    and people (`CC BY-SA 4.0`) write them.
    """
    words = re.sub(r"[\s_-]+", "-", text.strip().lower())
    if re.fullmatch(r"(cc-?0|cc-zero)(-1\.0)?", words):
        return Licence("CC0 1.0", CC0, "https://creativecommons.org/publicdomain/zero/1.0/")
    if re.fullmatch(r"etalab-2\.0|licence-ouverte-2\.0|lo-2\.0", words):
        return Licence("Licence Ouverte 2.0", OUVERTE, _OUVERTE_URL)
    free = r"pdm?\b|public-domain\b|us-government-work$|no-known-copyright|no-restrictions$"
    if re.match(free, words) and not words.endswith("-only"):
        return Licence(text.strip() if " " in text.strip() else "Public domain", PUBLIC_DOMAIN)
    # Commons also has cc-by-sa-3.0-de, cc-by-sa-3.0-migrated and cc-by-sa-2.5,2.0,1.0.
    words = words.replace("-nd-nc-", "-nc-nd-")  # as version 1.0 has it
    terms = re.fullmatch(r"cc-(by(?:-nc)?(?:-sa|-nd)?)-([1-4]\.[0-9])(?:[,-][a-z0-9.]+)*", words)
    if not terms:
        return None
    family = "CC " + terms[1].upper()
    url = f"https://creativecommons.org/licenses/{terms[1]}/{terms[2]}/"
    if family == BY_SA and terms[2] == "1.0":
        family = "CC BY-SA 1.0"  # what is made of it may be under no later version
    return Licence(f"{family.removesuffix(' 1.0')} {terms[2]}", family, url)


def for_model(photos: pd.DataFrame, synthetic: bool = False) -> str:
    """The licence that a model which learned from these photos must carry, and why in brackets.

    Whether a model is an adaptation of its photos is unsettled. This is the careful reading, as if
    it were one; it is no legal advice. The strictest licence decides. Those that exclude each other
    leave none: what is share-alike must stay free, version 1.0 of it allows no other licence.

    OpenStreetMap-France lets models that learned from its Panoramax pictures (CC BY-SA 4.0) be
    under CC BY 4.0, by its motion of 30 June 2023.

    `photos` has a row a photo: its licence as the source names it, and the url of the picture.
    `synthetic` says that this program drew them, so that nobody owns them.
    """
    if synthetic:
        return "CC0 1.0 (free choice: this program drew the photos)"
    counts = _terms(photos).value_counts()
    name, why, deciding = _strictest(set(counts.index) - {CC0, PUBLIC_DOMAIN})
    if deciding:
        held, under = counts[sorted(deciding)].sum(), " or ".join(sorted(deciding))
        why += f": {held:,} of {len(photos):,} photos under {under}"
    return f"{name} ({why})"


def _strictest(terms: set[str]) -> tuple[str, str, set[str]]:
    """The licence that terms which bind a model leave, why, and those of them that decide it."""
    no_derivatives = {each for each in terms if each.endswith("-ND")}
    first_version = {each for each in terms if each.endswith(" 1.0")}
    share_alike = terms & {BY_SA, _BY_SA_FRANCE}
    not_commercial = terms & {"CC BY-NC", "CC BY-NC-SA"}
    if not terms:
        return "CC0 1.0", "free choice: no photo's licence asks for anything", set()
    if _UNKNOWN in terms:
        return "only what law or the owners allow", "not determined", {_UNKNOWN}
    if no_derivatives:
        return "not to be published", "no derivatives", no_derivatives
    if first_version and len(terms) > 1:
        return "none fits", "version 1.0 goes with no other licence", first_version
    if first_version:
        return min(first_version), "share-alike, of no later version", first_version
    if share_alike and not_commercial:
        return "none fits", "both free and not commercial", share_alike | not_commercial
    if not_commercial:
        name = max(not_commercial, key=len)  # share-alike, if there is any
        return f"{name} 4.0", "not for commercial use", not_commercial
    if BY_SA in terms:
        return "CC BY-SA 4.0", "share-alike", share_alike
    return "CC BY 4.0", "attribution", terms


def counted(licences: pd.Series) -> str:
    """The licences of photos, as sources name them, and how many photos are under each."""
    counts = licences.replace("", "none stated").value_counts()
    named = [f"{licence} ({count:,})" for licence, count in counts.head(_NAMED).items()]
    if len(counts) > _NAMED:
        named.append(f"{len(counts) - _NAMED:,} others")
    return ", ".join(named)


def _terms(photos: pd.DataFrame) -> pd.Series:
    """What each photo's licence asks of a model: its family, or one of those named above."""
    texts = photos["licence"].fillna("").astype(str)
    unknown = Licence(_UNKNOWN, _UNKNOWN)
    known = texts.map({text: licence_of(text) or unknown for text in texts.unique()})
    names, families = (known.map(attrgetter(each)) for each in ("name", "family"))
    first_version = families.str.endswith("-SA") & names.str.endswith(" 1.0")
    france = photos["url"].fillna("").astype(str).str.match(_FRANCE, case=False)
    terms = families.mask(first_version, names)
    return terms.mask((names == "CC BY-SA 4.0") & france, _BY_SA_FRANCE)
