"""The settings page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aisecops_server.settings import CONFIG_VARIABLE, PREFIX, Settings
from pydantic.fields import FieldInfo

from docs.generate.markdown import code, table

INTRODUCTION = f"""# Settings

A setting comes, strongest first, from the command line, from the environment, from the YAML file that
`{CONFIG_VARIABLE}` names, or is the default. `aisecops config show` prints each value with its origin. An unknown
name or a value out of range stops the start.

No setting makes the control plane allow what it could not decide or could not record.

"""


def page() -> str:
    """Return the page."""
    shapes = Settings.model_json_schema()["properties"]
    rows = [
        [code(name), code(PREFIX + name.upper()), _type(shapes[name]), _default(field), field.description or ""]
        for name, field in Settings.model_fields.items()
    ]
    return INTRODUCTION + table(["setting", "variable", "type", "default", "meaning"], rows)


def _type(shape: dict[str, Any]) -> str:
    options = shape.get("anyOf", [shape])
    names = [option.get("format", option.get("type", "")) for option in options if option.get("type") != "null"]
    bounds = [
        f"{sign} {option[key]:,}"
        for option in options
        for key, sign in (("exclusiveMinimum", ">"), ("minimum", "≥"), ("maximum", "≤"))
        if key in option
    ]
    return " ".join([" or ".join(names), *bounds])


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    home = str(Path.home())
    return code(str(value).replace(home, "~")) if value not in (None, "") else ""
