"""Licences of photos: which one a text means, which one a model must carry."""

import re
from dataclasses import dataclass

CC0, PUBLIC_DOMAIN, BY, BY_SA = "CC0", "public domain", "CC BY", "CC BY-SA"
OUVERTE = "Licence Ouverte"
FREE = (CC0, PUBLIC_DOMAIN, BY, BY_SA, OUVERTE)  # to be kept, changed and handed on

_CC_URL = "https://creativecommons.org/licenses"
_OUVERTE_URL = "https://www.etalab.gouv.fr/licence-ouverte-open-licence"


@dataclass(frozen=True)
class Licence:
    """A licence that we know."""

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
    if re.match(r"pd\b|public-domain\b|us-government-work$|no-known-copyright", words):
        return Licence(text.strip() if " " in text.strip() else "Public domain", PUBLIC_DOMAIN)
    # Commons also has cc-by-sa-3.0-de, cc-by-sa-3.0-migrated and cc-by-sa-2.5,2.0,1.0.
    terms = re.fullmatch(r"cc-(by(?:-nc)?(?:-sa|-nd)?)-(\d\.\d)(?:[,-][a-z\d.]+)*", words)
    if not terms:
        return None
    family = "CC " + terms[1].upper()
    url = f"{_CC_URL}/{terms[1]}/{terms[2]}/"
    if family == BY_SA and terms[2] == "1.0":
        family = "CC BY-SA 1.0"  # what is made of it may be under no later version
    return Licence(f"{family.removesuffix(' 1.0')} {terms[2]}", family, url)
