"""Draw docs/architecture.svg: the packages of nogps on their floors, and the imports between them.

python docs/architecture.py
"""

import tomllib
from collections import Counter
from importlib import import_module
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = Path(__file__).with_suffix(".svg")
WIDTH, ROW, BOX = 960, 92, (280, 56)  # pixels
STAGES = ("sample", "download", "pack", "split", "cells", "train", "eval", "report")
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b1b1b } .name { font-weight: 600; font-size: 15px }
.box { fill: #fff; stroke: #4a6fa5; stroke-width: 1.2 } .stage { fill: #eef3fa; stroke: #9db4d3 }
.planet { stroke-dasharray: 5 4; stroke: #8a8a8a } .import { fill: none; stroke: #4a6fa5 }
"""


def floors() -> list[list[str]]:
    """The packages as the contract in pyproject.toml stacks them, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [layers] = [each["layers"] for each in settings["contracts"] if each["type"] == "layers"]
    return [sorted(layer.split(" | ")) for layer in layers]


def imports() -> Counter[tuple[str, str]]:
    """How many imports lead from a package to another."""
    graph = grimp.build_graph("nogps", cache_dir=None)
    packages = {name for floor in floors() for name in floor}
    found: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = tuple(f"{name}.".split(".")[1] for name in (module, imported))
            if pair[0] != pair[1] and packages.issuperset(pair):
                found[pair] += 1
    return found


def purpose(package: str) -> str:
    """What the first line of the package's docstring says behind its colon, or all of it."""
    first = (import_module(f"nogps.{package}").__doc__ or "").splitlines()[0].rstrip(".")
    return first.partition(": ")[2] or first


def width(count: int) -> float:
    """A line for so many imports, in three steps: so that few changes ask for another picture."""
    return 1.0 if count < 4 else 2.2 if count < 12 else 4.0


def box(x: float, y: float, name: str, told: str, kind: str = "") -> list[str]:
    """A package: its middle, its name, what lives there."""
    wide, high = BOX
    return [
        f'<rect class="box {kind}" x="{x - wide / 2:.0f}" y="{y:.0f}" width="{wide}" '
        f'height="{high}" rx="7"/>',
        f'<text class="name" x="{x:.0f}" y="{y + 22:.0f}" text-anchor="middle">{name}</text>',
        f'<text x="{x:.0f}" y="{y + 42:.0f}" text-anchor="middle">{escape(told)}</text>',
    ]


def draw() -> str:
    """The picture, as SVG."""
    stages = " · ".join(STAGES)
    parts = [
        f'<rect class="box stage" x="20" y="14" width="{WIDTH - 40}" height="38" rx="7"/>',
        f'<text x="{WIDTH / 2}" y="38" text-anchor="middle">'
        f'<tspan class="name">src/*.py</tspan>, the stages: {stages}</text>',
    ]
    middle: dict[str, tuple[float, float]] = {}
    rows = floors()
    for row, packages in enumerate(rows):
        for column, name in enumerate(packages):
            x = WIDTH / 2 + (column - (len(packages) - 1) / 2) * (BOX[0] + 28)
            if len(packages) == 1:  # beside the arrows of the next floor
                x += BOX[0] / 2 if row % 2 else -BOX[0] / 2
            middle[name] = (x, 76 + row * ROW)
    lines = []
    for (above, below), count in sorted(imports().items()):
        (x, y), (to_x, to_y) = middle[above], middle[below]
        y, bend = y + BOX[1], (to_y - y - BOX[1]) / 2
        lines.append(
            f'<path class="import" stroke-width="{width(count)}" opacity="0.4" '
            f'd="M{x:.0f} {y:.0f} C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} '
            f'{to_x:.0f} {to_y:.0f}"><title>{above} → {below}</title></path>'
        )
    for name, (x, y) in middle.items():
        parts += box(x, y, name, purpose(name))
    parts += box(WIDTH - 162, 76, "planet", "a program beside it, over HTTP", "planet")
    high = 76 + len(rows) * ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {high}" role="img">\n'
        f"<title>The packages of nogps, and the imports between them</title>\n"
        f'<style>{STYLE}</style>\n<rect width="{WIDTH}" height="{high}" fill="#fff"/>\n'
        + "\n".join(lines + parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw())
