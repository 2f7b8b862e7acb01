"""Find where photographs were taken, and train, measure and share the models that do it."""

import argparse
import difflib
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from nogps import __version__
from nogps.base.errors import InputError, system_error

# A module is imported only when its command is asked for: torch takes seconds, and neither --help
# nor `nogps locate` with an ONNX model needs it. Its docstring is the help of the command, its
# add_arguments(parser) says what that takes, its main(**those) returns an exit code or None.
COMMANDS = {
    "locate": ("nogps.cli.locate", "say where photos were taken"),
    "export": ("nogps.cli.export", "write a model as ONNX, for phones, browsers and servers"),
    "evaluate": ("nogps.cli.evaluate", "measure a saved model on a folder or zip of photos"),
    "sets": ("nogps.cli.sets", "say where OSV-5M, Im2GPS, Im2GPS3k and YFCC4k come from"),
    "results": ("nogps.pipeline.results", "print the results table of the last run"),
    "tune": ("nogps.pipeline.tune", "search for parameters that do better"),
    "lr-range": ("nogps.pipeline.lr_range", "find a learning rate, by the range test"),
    "site": ("nogps.pipeline.site", "build the page that locates photos in a browser"),
    "params": ("nogps.pipeline.params_page", "check params.yaml and dvc.yaml, or document them"),
}
TORCH = {"onnx", "onnxscript", "pandas", "pyarrow", "scipy", "timm", "torch", "torchvision"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; what the user did wrong comes out as one sentence."""
    if sys.stdout is None:
        sys.exit("nogps: the standard output is closed; send it somewhere")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of towns, on any terminal
            stream.reconfigure(errors="backslashreplace")
    command, rest = _command(arguments)
    try:
        module = import_module(COMMANDS[command][0])
        parser = _parser(f"nogps {command}", module.__doc__)
        if hasattr(module, "add_arguments"):
            module.add_arguments(parser)
        code = module.main(**vars(parser.parse_args(rest)))
        sys.stdout.flush()
    except InputError as error:
        sys.exit(f"nogps: {error}")
    except ModuleNotFoundError as error:
        _needs_extra(command, error)
    except BrokenPipeError:  # the reader has had enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        sys.exit(f"nogps: {system_error(error)}")
    except KeyboardInterrupt:
        sys.exit(130)
    if code:
        sys.exit(code)


def _command(arguments: Sequence[str] | None) -> tuple[str, list[str]]:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {told}" for name, (_, told) in COMMANDS.items())
    parser = _parser("nogps", __doc__)
    parser.usage = "nogps COMMAND ..."
    parser.epilog = f"commands:\n{listed}\n\n`nogps COMMAND --help` says more of each."
    parser.add_argument("--version", action="version", version=f"nogps {__version__}")
    parser.add_argument("command", metavar="COMMAND", nargs="?", help="one of those below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="what it takes")
    asked = parser.parse_args(arguments)
    if not asked.command:
        parser.exit(2, parser.format_help())
    if asked.command not in COMMANDS:
        [nearest] = difflib.get_close_matches(asked.command, COMMANDS, n=1) or [""]
        hint = f"did you mean {nearest}?" if nearest else f"there are {', '.join(COMMANDS)}"
        parser.error(f"{asked.command} is no command; {hint}")
    return asked.command, asked.rest


def _parser(program: str, description: str | None) -> argparse.ArgumentParser:
    kept = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(program, description=description, formatter_class=kept)


def _needs_extra(command: str, error: ModuleNotFoundError) -> NoReturn:
    missing = (error.name or "").split(".")[0]
    if missing in ("", "nogps"):
        raise error
    install = f"pip install 'nogps[{'torch' if missing in TORCH else 'pipeline'}]'"
    sys.exit(f"nogps: {command} needs {missing}, which is not installed; run {install}")
