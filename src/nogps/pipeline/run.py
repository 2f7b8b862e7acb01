"""What the stage scripts share: parameters, paths, one-sentence errors, metrics files."""

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nogps.base.errors import InputError, system_error
from nogps.base.files import replacing
from nogps.pipeline.params import Params, check_stages, read_params
from nogps.pipeline.paths import METRICS


def write_metrics(stage: str, /, **numbers: Any) -> None:
    """Write metrics/<stage>.json, the small numbers that `dvc metrics diff` compares."""
    with replacing(METRICS / f"{stage}.json") as path:
        path.write_text(json.dumps(numbers, indent=2, default=int) + "\n")  # int: NumPy's


def number(value: float) -> float | None:
    """A number that JSON can hold: None for what is not finite."""
    return value if math.isfinite(value) else None


def read_metrics(stage: str) -> dict:
    """The numbers that an earlier stage wrote."""
    return json.loads((METRICS / f"{stage}.json").read_text())


def main(stage: Callable[[Params], None], description: str) -> None:
    """Run a stage as a script: what the user did wrong comes out as one sentence."""
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = description
    parser.epilog = "Takes its settings from params.yaml. `dvc repro` runs what is out of date."
    parser.parse_args()
    name = Path(sys.argv[0]).stem
    try:
        check_stages()
        stage(read_params())
    except InputError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(f"\n{name}: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        sys.exit(f"{name}: {system_error(error)}")
