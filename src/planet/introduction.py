"""What the planet prints when it starts: where its services are and which keys open them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from planet import commons, flickr, keys, mapillary, panoramax, streetview

SECRETS = {  # by the names that the real keys have in the environment
    "FLICKR_API_KEY": keys.KEY,
    "FLICKR_API_SECRET": keys.SECRET,
    "GOOGLE_MAPS_API_KEY": keys.GOOGLE_KEY,
    "GOOGLE_MAPS_SIGNING_SECRET": keys.SIGNING_SECRET,
    "MAPILLARY_TOKEN": keys.MAPILLARY_TOKEN,
}


def introduction(base: str, addresses: Sequence[Path] = ()) -> dict:
    """The line of JSON: `base`, `version`, `secrets`, and per service where it is.

    Hosts end in `.invalid`, which RFC 2606 promises to lead nowhere: requests to them go to
    `base`, with the path and query that they have. `addresses`: files of OpenAddresses that Street
    View is to be asked around.
    """
    files = {"addresses": [str(path) for path in addresses]} if addresses else {}
    google = {"base_url": streetview.API_HOST, "page_base": streetview.PAGE_HOST} | files
    return {
        "base": base,
        "version": version(),
        "secrets": SECRETS,
        "services": {
            "flickr": {"rest_url": base + flickr.REST, "page_base": flickr.PAGE_HOST},
            "panoramax": {"base_url": panoramax.CATALOGUE},
            "commons": {"base_url": commons.SITE},
            "mapillary": {"base_url": mapillary.GRAPH, "page_base": mapillary.PAGE_HOST},
            "streetview": google,
        },
    }


def version() -> str:
    """A digest of the planet's code: another one may draw other pictures at the same addresses."""
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return hashlib.sha256(code).hexdigest()[:12]
