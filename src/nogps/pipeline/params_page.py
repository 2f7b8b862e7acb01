"""What params.yaml may hold, for editors and for people.

Checks params.yaml and dvc.yaml, or prints a page (docs/parameters.md) or a JSON Schema
(params.schema.json) made from the one declaration of the parameters.
"""

import json
from argparse import ArgumentParser
from pathlib import Path

import yaml

from nogps.pipeline.params import Params, check_stages, read_params, stages_by_parameter

INTRODUCTION = """\
# Parameters

Everything that `params.yaml` holds, with the values that come with the project.
`dvc exp run -S lr=3e-4` changes one; the stages named last run again then, and those
that read what they write.
`nogps params --markdown` makes this page.
"""
HEADER = "| name | values | comes as | what | stages |\n|---|---|---|---|---|"
BOUNDS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {}",
}


def schema() -> str:
    """The JSON Schema of params.yaml, which editors check and complete by."""
    return json.dumps(Params.model_json_schema(), indent=2) + "\n"


def markdown(path: Path = Path("params.yaml")) -> str:
    """The page of all parameters, with the values of a params.yaml and the stages of dvc.yaml."""
    shape, stages = Params.model_json_schema(), stages_by_parameter()
    flat, sections = [], []
    for name, value in yaml.safe_load(path.read_text()).items():
        field, named = shape["properties"][name], ", ".join(stages.get(name, []))
        if "$ref" not in field:
            flat.append(_row(name, field, value, named))
            continue
        section = shape["$defs"][field["$ref"].rsplit("/", 1)[-1]]
        fields = section["properties"]
        rows = [_row(f"{name}.{key}", fields[key], each, named) for key, each in value.items()]
        sections += [f"\n## {name}\n\n{section['description']}\n\n{HEADER}", *rows]
    return "\n".join([INTRODUCTION, HEADER, *flat, *sections]) + "\n"


def _row(name: str, field: dict, value: object, stages: str) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    cells = [f"`{name}`", _values(field), f"`{shown}`", field["description"], stages]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _values(field: dict) -> str:
    """The values that a JSON Schema allows, in words."""
    if "anyOf" in field:
        return ", or ".join(map(_values, field["anyOf"]))
    if "enum" in field or "const" in field:
        return " | ".join(str(each) for each in field.get("enum", [field.get("const")]))
    if "prefixItems" in field:
        return f"list of {len(field['prefixItems'])} {_values(field['prefixItems'][0])}s"
    words = [field.get("format", field["type"])]
    if "items" in field:
        words = [f"list of {_values(field['items'])}"]
    elif "additionalProperties" in field:
        words = [f"mapping to {_values(field['additionalProperties'])}"]
    bounds = [text.format(f"{field[key]:g}") for key, text in BOUNDS.items() if key in field]
    return " ".join(words + bounds)


def add_arguments(parser: ArgumentParser) -> None:
    """What `nogps params` takes."""
    add = parser.add_mutually_exclusive_group().add_argument
    add("--markdown", action="store_true", dest="page", help="print the page of all parameters")
    add("--schema", action="store_true", dest="as_json", help="print the JSON Schema")


def main(page: bool = False, as_json: bool = False) -> None:
    """Check both files, or print what is asked for."""
    if as_json:
        print(schema(), end="")
        return
    read_params()
    check_stages()
    print(markdown() if page else "params.yaml and dvc.yaml are right\n", end="")
