"""What obligations make of a call before it runs: the arguments that a grant is for are those that will be executed.

Of all obligations only a redaction of arguments changes them. It is applied here, before the digest is taken, and again
by the enforcement point, so that both know the same bytes and a tool never sees what was to be kept from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aisecops_server.domain.decisions.decision import Obligation
from aisecops_server.domain.formats.canonical import JsonValue

REDACTED = "[redacted]"


def arguments_under(arguments: Mapping[str, JsonValue], obligations: Sequence[Obligation]) -> Mapping[str, JsonValue]:
    """Return the arguments with which a step may be executed."""
    fields = {
        name for item in obligations if _redacts_arguments(item) for name in _names(item.parameters.get("fields"))
    }
    return {key: _redacted(key, value, fields) for key, value in arguments.items()} if fields else arguments


def _redacts_arguments(obligation: Obligation) -> bool:
    return obligation.kind == "redact" and obligation.parameters.get("of") == "arguments"


def _redacted(key: str, value: JsonValue, fields: set[str]) -> JsonValue:
    if key in fields:
        return REDACTED
    if isinstance(value, dict):
        return {name: _redacted(name, member, fields) for name, member in value.items()}
    if isinstance(value, list):
        return [_redacted("", item, fields) for item in value]
    return value


def _names(value: JsonValue) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
