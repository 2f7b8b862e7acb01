"""Serve the planet: `python -m nogps.simulated --seed 0 --photos 6000`."""

import argparse
import signal
import sys
import threading

from nogps.simulated.planet import photos
from nogps.simulated.server import make_server


def main() -> None:
    """Serve until standard input ends, or, at a terminal, until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m nogps.simulated", description=main.__doc__)
    parser.add_argument("--seed", type=int, default=0, help="another seed, another planet")
    parser.add_argument("--photos", type=int, default=6000, help="how many photos exist")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    arguments = parser.parse_args()
    server = make_server(photos(arguments.seed, arguments.photos), arguments.port)
    if not sys.stdin.isatty():
        # Ctrl-C goes to the whole process group; whoever started us decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_stop_with_stdin, args=[server], daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


def _stop_with_stdin(server) -> None:
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
