"""Serve the planet: `python -m planet --seed 0 --photos 6000`."""

import argparse
import asyncio
import sys
import threading
from pathlib import Path

from nogps.base.errors import InputError
from planet.faults import FAULTS, check
from planet.photos import photos
from planet.server import Setup, hosts


def main() -> None:
    """Serve until standard input ends, or, at a terminal, until Ctrl-C."""
    parser = _parser()
    arguments = parser.parse_args()
    try:
        faults = check(dict(arguments.fault))
    except InputError as error:
        parser.error(str(error))
    setup = Setup(
        seed=arguments.seed,
        faults=faults,
        log=arguments.log,
        calls_per_hour=arguments.calls_per_hour,
        drawn=arguments.drawn,
    )
    try:
        asyncio.run(_serve(arguments.photos, arguments.port, setup))
    except KeyboardInterrupt:
        print()
    except OSError as error:
        parser.error(f"the planet cannot be served ({error}); choose another port or log")


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
        "--drawn",
        type=int,
        default=0,
        metavar="N",
        help="draw only so many distinct pictures for Flickr and Street View",
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


async def _serve(count: int, port: int, setup: Setup) -> None:
    done = asyncio.Event()
    async with hosts(photos(setup.seed, count), port, setup) as base:
        if not sys.stdin.isatty():
            arguments = [asyncio.get_running_loop(), done]
            threading.Thread(target=_stop_with_stdin, args=arguments, daemon=True).start()
        print(base, flush=True)
        await done.wait()


def _stop_with_stdin(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    sys.stdin.read()
    loop.call_soon_threadsafe(done.set)


if __name__ == "__main__":
    main()
