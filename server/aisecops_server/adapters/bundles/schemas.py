"""JSON Schemas of everything that people edit, for editors: tables, manifest, golden cases, files of gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import orjson
from pydantic import BaseModel, Field

from aisecops_server.adapters.bundles.ownership import OwnerEntry
from aisecops_server.domain.compliance.compliance import FrameworkFile
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.accepted_flips import AcceptedFlips, Gates
from aisecops_server.domain.policy.golden_case import GoldenCases
from aisecops_server.domain.policy.policy_paths import ACCEPTED_FLIPS, GATES, WAIVERS
from aisecops_server.domain.policy.waivers import Waivers
from aisecops_server.domain.tables.policy_tables import PolicyTables
from aisecops_server.domain.tables.table_fields import Entry, Text

DIRECTORY = ".schemas"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MODELINE = "# yaml-language-server: $schema="


class Manifest(Entry):
    """Which policy this is and who answers for it."""

    name: Text
    description: str = ""
    roots: list[str] | None = Field(default=None, description="Fixed; left out by most.")
    owners: dict[Text, OwnerEntry] = Field(description="For each part: who changes it, and who reviews the change.")


def schema_files() -> dict[str, bytes]:
    """Return every schema as a file, by its path in a policy repository."""
    models: Mapping[str, type[BaseModel]] = {
        **{name: _model(name) for name in PolicyTables.model_fields},
        "bundle": Manifest,
        "cases": GoldenCases,
        "framework": FrameworkFile,
        "accepted-flips": AcceptedFlips,
        "gates": Gates,
        "waivers": Waivers,
    }
    return {f"{DIRECTORY}/{name}.json": _text(_schema(model)) for name, model in models.items()}


def with_modeline(path: str, content: bytes) -> bytes:
    """Return a YAML file with the line by which editors find its schema; other files as they are."""
    if not (schema := _schema_of(path)) or content.startswith(_MODELINE.encode()):
        return content
    up = "../" * path.count("/")
    return f"{_MODELINE}{up}{DIRECTORY}/{schema}.json\n".encode() + content


def _schema_of(path: str) -> str:
    folder, _, file = path.rpartition("/")
    name, dot, suffix = file.rpartition(".")
    if not dot or suffix not in ("yaml", "yml"):
        return ""
    if folder == "data" and name in PolicyTables.model_fields:
        return name
    if folder == "cases":
        return "cases"
    if folder == "compliance":
        return "framework"
    return name if path in ("bundle.yaml", ACCEPTED_FLIPS, GATES, WAIVERS) else ""


def _model(table: str) -> type[BaseModel]:
    kind = PolicyTables.model_fields[table].annotation
    # A table that may be missing is a model or nothing.
    for part in (kind, *get_args(kind)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    raise TypeError(f"the table {table} has no model")


def _schema(model: type[BaseModel]) -> JsonValue:
    return {"$schema": _DIALECT, **model.model_json_schema()}


def _text(schema: JsonValue) -> bytes:
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
