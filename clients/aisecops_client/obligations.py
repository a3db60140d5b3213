"""What an enforcement point must also do: before a call, with its arguments, and with its result.

A kind that is not known here, and for which nobody brought a handler, refuses the call: an obligation that is silently
dropped is worse than a call that is not made.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisecops.v1.grant_pb2 import Grant

from aisecops_client.refusals import ObligationUnmetError

REDACTED = "[redacted]"
CONFIRM = "confirm"
DIGEST_ONLY = "log_digest_only"
_REDACT, _LIMIT = "redact", "limit"
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Duty:
    """One obligation of a grant."""

    kind: str
    parameters: Mapping[str, Any]


def duties_of(grant: Grant, *, handled: Collection[str]) -> tuple[Duty, ...]:
    """Return the obligations of a grant; ``handled`` are the kinds for which there are handlers.

    Raises:
        ObligationUnmetError: one is not known, or cannot be understood.
    """
    duties = []
    for item in grant.obligations:
        try:
            parameters = json.loads(item.parameters_json or "{}")
        except ValueError as error:
            raise ObligationUnmetError(item.kind, f"the obligation {item.kind!r} cannot be read") from error
        duty = Duty(item.kind, parameters)
        if item.kind not in handled:
            _require_understood(duty)
        duties.append(duty)
    return tuple(duties)


def arguments_under(arguments: Mapping[str, Any], duties: Iterable[Duty]) -> Mapping[str, Any]:
    """Return the arguments with which the call may be made."""
    fields = _fields(duties, of="arguments")
    return {key: _redacted(key, value, fields) for key, value in arguments.items()} if fields else arguments


def result_under(result: Any, duties: Sequence[Duty]) -> Any:
    """Return what of a result may be passed on.

    Raises:
        ObligationUnmetError: it is of a kind of which that cannot be said; nothing of it may be passed on.
    """
    fields = _fields(duties, of="result")
    if fields:
        result = _redacted("", result, fields)
    for duty in duties:
        if duty.kind == _LIMIT:
            result = _limited(result, duty.parameters["rows"])
    return result


def keeps_content(duties: Iterable[Duty]) -> bool:
    """Return whether the content of arguments and results may be kept, and not only their digests."""
    return all(duty.kind != DIGEST_ONLY for duty in duties)


def _require_understood(duty: Duty) -> None:
    parameters = duty.parameters
    match duty.kind:
        case "redact":
            fields = parameters.get("fields")
            names = isinstance(fields, list) and bool(fields) and all(isinstance(name, str) for name in fields)
            understood = names and parameters.get("of", "result") in ("arguments", "result")
        case "limit":
            rows = parameters.get("rows")
            understood = type(rows) is int and rows >= 0
        case "confirm" | "log_digest_only":
            understood = True
        case _:
            raise ObligationUnmetError(
                duty.kind, f"the obligation {duty.kind!r} is not known here; give the guard a handler for it"
            )
    if not understood:
        raise ObligationUnmetError(duty.kind, f"the parameters of the obligation {duty.kind!r} are not understood")


def _fields(duties: Iterable[Duty], *, of: str) -> frozenset[str]:
    return frozenset(
        name
        for duty in duties
        if duty.kind == _REDACT and duty.parameters.get("of", "result") == of
        for name in duty.parameters["fields"]
    )


def _redacted(key: str, value: Any, fields: Collection[str]) -> Any:
    if key in fields:
        return REDACTED
    if isinstance(value, Mapping):
        return {name: _redacted(str(name), member, fields) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted("", item, fields) for item in value]
    if isinstance(value, _SCALARS):
        return value
    raise ObligationUnmetError(
        _REDACT, f"fields of a {type(value).__name__} cannot be redacted; return mappings, lists and plain values"
    )


def _limited(result: Any, rows: int) -> Any:
    if isinstance(result, list | tuple):
        return list(result[:rows])
    if isinstance(result, Mapping):
        return {
            name: list(member[:rows]) if isinstance(member, list | tuple) else member for name, member in result.items()
        }
    if isinstance(result, _SCALARS):
        return result
    raise ObligationUnmetError(_LIMIT, f"rows of a {type(result).__name__} cannot be counted; return a list")
