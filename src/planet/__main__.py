"""Serve the planet: `python -m planet --seed 0 --photos 6000`."""

import argparse
import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import NoReturn

from nogps.base.errors import InputError
from planet.addresses import write_addresses
from planet.faults import FAULTS, check
from planet.introduction import introduction
from planet.photos import photos
from planet.server import Setup, hosts


def main() -> None:
    """Serve until standard input ends, or, at a terminal, until Ctrl-C.

    The first line printed is JSON: where the services are and which keys open them, or what is
    wrong.
    """
    arguments = _parser().parse_args()
    try:
        asyncio.run(_serve(arguments))
    except KeyboardInterrupt:
        print()
    except InputError as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"the planet cannot be served ({error}); choose another port, log or folder")


def _refuse(error: str) -> NoReturn:
    print(json.dumps({"error": error}), flush=True)
    sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    kinds = "\n".join(f"  {kind:<16} {line}" for kind, line in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m planet",
        description=main.__doc__,
        epilog=f"faults:\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, another planet")
    parser.add_argument("--photos", type=int, default=6000, help="how many photos exist")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="KIND=SHARE",
        help="what share of the requests this kind of fault hits; may be repeated",
    )
    parser.add_argument("--log", type=Path, help="file that gets a line of JSON per request")
    parser.add_argument(
        "--calls-per-hour", type=int, default=0, metavar="N", help="that Flickr's API answers"
    )
    parser.add_argument(
        "--distinct",
        type=int,
        default=0,
        metavar="N",
        help="draw only so many distinct pictures for Flickr and Street View",
    )
    parser.add_argument(
        "--addresses",
        type=Path,
        metavar="FOLDER",
        help="write made-up addresses to ask Street View around, as files of OpenAddresses",
    )
    return parser


def _fault(text: str) -> tuple[str, float]:
    kind, _, share = text.partition("=")
    try:
        return kind, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not KIND=SHARE; the kinds are {', '.join(FAULTS)}"
        ) from None


async def _serve(asked: argparse.Namespace) -> None:
    setup = Setup(
        seed=asked.seed,
        faults=check(dict(asked.fault)),
        log=asked.log,
        calls_per_hour=asked.calls_per_hour,
        distinct=asked.distinct,
    )
    addresses = write_addresses(asked.addresses, asked.seed) if asked.addresses else []
    done = asyncio.Event()
    async with hosts(photos(asked.seed, asked.photos), asked.port, setup) as base:
        if not sys.stdin.isatty():
            arguments = [asyncio.get_running_loop(), done]
            threading.Thread(target=_stop_with_stdin, args=arguments, daemon=True).start()
        print(json.dumps(introduction(base, addresses)), flush=True)
        await done.wait()


def _stop_with_stdin(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    sys.stdin.read()
    loop.call_soon_threadsafe(done.set)


if __name__ == "__main__":
    main()
