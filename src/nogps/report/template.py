"""Pages as Jinja templates, which lie beside this module."""

from collections.abc import Callable
from importlib.resources import files as resources

from jinja2 import Environment, StrictUndefined, Template


def template(name: str, **filters: Callable) -> Template:
    """A page of this package; what is put in is escaped, what is missing is an error."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= filters
    return environment.from_string(text(name))


def text(name: str) -> str:
    """A file of this package."""
    return resources("nogps.report").joinpath(name).read_text("utf-8")
