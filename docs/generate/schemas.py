"""The pages of the JSON that policy sees: the input document and the policy tables, from their pydantic models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aisecops_server.domain.documents.input_document import InputDocument
from aisecops_server.domain.screening.detection import DETECTORS
from aisecops_server.domain.screening.screen_document import ScreenDocument
from aisecops_server.domain.tables.policy_tables import PolicyTables
from pydantic import BaseModel

from docs.generate.markdown import code, one_line, table

DOCUMENT = """# Input document

Exactly the JSON that a rule sees as `input`. It is made once, in canonical form (RFC 8785); the same bytes go to the
engine, into the digest and into the log, and a replay evaluates those bytes again. What the policy repository owns
is not here: see [policy tables](tables.md). The schema that `opa check` uses is `rego/schemas/input.json`.

"""
SCREEN_DOCUMENT = """# Document about texts

Exactly the JSON that a rule about texts sees as `input`: what detectors saw, and where. It is made once and stored as
the [input document](input-document.md) of a plan is. The texts themselves are not in it unless the caller wants them
kept, and then what is private in them is masked. What each detection means stands in the table `data/screen.yaml`, see
[policy tables](tables.md). The schema that `opa check` uses is `rego/schemas/screen.json`.

"""
DETECTORS_HEADING = """
## Detectors

What is looked for. The word before the dot is the kind, which the table `data/screen.yaml` speaks of; that table may
also name single detectors. [Limits](../explanation/limits.md#texts) says what none of them sees.

"""
TABLES = """# Policy tables

What people edit under `data/` of the policy repository, and what a rule sees as `data.tables`. A table that breaks
its model stops the revision from being built; the live one stays. Because tables belong to the revision, a replay
judges with the tables of the revision it replays on.

"""


def input_document() -> str:
    """Return the page of the input document."""
    return DOCUMENT + "\n".join(_sections(InputDocument))


def screen_document() -> str:
    """Return the page of the document about texts, with the detectors whose detections it holds."""
    rows = [[code(detector), meaning] for detector, meaning in DETECTORS.items()]
    detectors = DETECTORS_HEADING + table(["detector", "looks for"], rows)
    return SCREEN_DOCUMENT + "\n".join(_sections(ScreenDocument)) + detectors


def policy_tables() -> str:
    """Return the page of the policy tables."""
    schema = PolicyTables.model_json_schema()
    parts = schema["$defs"]
    files = [
        [code(f"data/{name}.yaml"), code(f"data.tables.{name}"), _type(_unwrapped(shape, parts)), _about(shape, parts)]
        for name, shape in ((name, _named(shape)) for name, shape in schema["properties"].items())
    ]
    sections = [_section(name, part) for name, part in parts.items() if "properties" in part]
    return TABLES + table(["file", "in rules", "holds", "meaning"], files) + "\n" + "\n".join(sections)


def _named(shape: dict[str, Any]) -> dict[str, Any]:
    """Return the model of a table that may be left out."""
    return next((option for option in shape.get("anyOf", ()) if "$ref" in option), shape)


def _unwrapped(shape: dict[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table is, without the model that only names it."""
    part: dict[str, Any] = parts[shape["$ref"].rpartition("/")[2]]
    return shape if "properties" in part else part


def _about(shape: dict[str, Any], parts: Mapping[str, Any]) -> str:
    return str(shape.get("description") or parts[shape["$ref"].rpartition("/")[2]].get("description", ""))


def _sections(model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    yield _section(model.__name__, schema)
    for name, part in schema.get("$defs", {}).items():
        if "properties" in part:
            yield _section(name, part)


def _section(name: str, schema: dict[str, Any]) -> str:
    heading = f"## {name}\n\n{one_line(schema.get('description', ''))}\n"
    needed = schema.get("required", [])
    rows = [
        [code(field), _type(shape), "" if field in needed else "optional", shape.get("description", "")]
        for field, shape in schema.get("properties", {}).items()
    ]
    return heading + "\n" + table(["field", "type", "", "meaning"], rows)


def _type(shape: dict[str, Any]) -> str:
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return "any JSON value" if name == "JsonValue" else f"[{name}](#{name.lower()})"
    if "anyOf" in shape:
        return " or ".join(_type(option) for option in shape["anyOf"])
    if "const" in shape or "enum" in shape:
        values = shape.get("enum", [shape.get("const")])
        return " ".join(code(str(value)) if value != "" else "empty" for value in values)
    if shape.get("type") == "array":
        return f"list of {_type(shape.get('items', {}))}"
    if shape.get("type") == "object":
        held = [*shape.get("patternProperties", {}).values(), shape.get("additionalProperties")]
        return next((f"map of {_type(part)}" for part in held if isinstance(part, dict)), "object")
    return shape.get("type", "any JSON value")
