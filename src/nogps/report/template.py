"""Pages as Jinja templates, which lie beside this module."""

from collections.abc import Callable
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from nogps.base.files import replacing


def write_page(path: Path, name: str, content: dict[str, Any], **filters: Callable) -> None:
    """Write a page of this package; what is put in is escaped, what is missing is an error."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= filters
    html = environment.from_string(text(name)).render(content)
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")


def text(name: str) -> str:
    """A file of this package."""
    return resources("nogps.report").joinpath(name).read_text("utf-8")
