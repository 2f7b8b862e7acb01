"""Serve the planet: `python -m planet --seed 0 --photos 6000`."""

import argparse
import json
import os
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nogps.base.errors import InputError
from planet import commons, flickr, keys, mapillary, panoramax, streetview
from planet.addresses import write_addresses
from planet.faults import FAULTS
from planet.photos import photos
from planet.server import serving

SECRETS = {  # by the names that the real keys have in the environment
    "FLICKR_API_KEY": keys.KEY,
    "FLICKR_API_SECRET": keys.SECRET,
    "GOOGLE_MAPS_API_KEY": keys.GOOGLE_KEY,
    "GOOGLE_MAPS_SIGNING_SECRET": keys.SIGNING_SECRET,
    "MAPILLARY_TOKEN": keys.MAPILLARY_TOKEN,
}


def main() -> None:
    """Serve until standard input ends, or, at a terminal, until Ctrl-C.

    The first line printed is JSON: where the services are and which keys open them, or what is
    wrong.
    """
    asked, told = _parser().parse_args(), ""
    setup = {name: vars(asked)[name] for name in ("seed", "log", "calls_per_hour", "distinct")}
    setup["faults"] = dict(asked.fault)
    try:
        addresses = write_addresses(asked.addresses, asked.seed) if asked.addresses else []
        with serving(photos(asked.seed, asked.photos), asked.port, **setup) as base:
            print(json.dumps(introduction(base, addresses)), flush=True)
            wait = threading.Event().wait if sys.stdin.isatty() else sys.stdin.read
            wait()
    except KeyboardInterrupt:
        print()
    except InputError as error:
        told = str(error)
    except BrokenPipeError:  # who started it has gone before it was ready
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        told = f"the planet cannot be served ({error}); choose another port, log or folder"
    if told:
        print(json.dumps({"error": told}), flush=True)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    kinds = "\n".join(f"  {kind:<16} {line}" for kind, line in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m planet",
        description=main.__doc__,
        epilog=f"faults:\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, add_number = parser.add_argument, partial(parser.add_argument, type=int, default=0)
    add_number("--seed", help="another seed, another planet")
    add_number("--photos", default=6000, help="how many photos exist")
    add_number("--port", help="0 takes a free one")
    share = "what share of the requests this kind of fault hits; may be repeated"
    add("--fault", type=_fault, action="append", default=[], metavar="KIND=SHARE", help=share)
    add("--log", type=Path, help="file that gets a line of JSON per request")
    add_number("--calls-per-hour", metavar="N", help="that Flickr's API answers")
    distinct = "draw only so many distinct pictures for Flickr and Street View"
    add_number("--distinct", metavar="N", help=distinct)
    files = "write made-up addresses to ask Street View around, as files of OpenAddresses"
    add("--addresses", type=Path, metavar="FOLDER", help=files)
    return parser


def _fault(text: str) -> tuple[str, float]:
    kind, _, share = text.partition("=")
    try:
        return kind, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not KIND=SHARE; the kinds are {', '.join(FAULTS)}"
        ) from None


def introduction(base: str, addresses: Sequence[Path] = ()) -> dict:
    """The line of JSON: `base`, `secrets`, and per service where it is.

    Hosts end in `.invalid`, which RFC 2606 promises to lead nowhere: requests to them go to
    `base`, with the path and query that they have. `addresses`: files of OpenAddresses that Street
    View is to be asked around.
    """
    files = {"addresses": [str(path) for path in addresses]} if addresses else {}
    google = {"base_url": streetview.API_HOST, "page_base": streetview.PAGE_HOST} | files
    return {
        "base": base,
        "secrets": SECRETS,
        "services": {
            "flickr": {"rest_url": base + flickr.REST, "page_base": flickr.PAGE_HOST},
            "panoramax": {"base_url": panoramax.CATALOGUE},
            "commons": {"base_url": commons.SITE},
            "mapillary": {"base_url": mapillary.GRAPH, "page_base": mapillary.PAGE_HOST},
            "streetview": google,
        },
    }


if __name__ == "__main__":
    main()
