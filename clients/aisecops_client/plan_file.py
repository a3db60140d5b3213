"""Reads an execution plan as people write it: JSON or a mapping with the API's field names.

``arguments`` is an object and ``content`` is text; kinds and trust levels are the plain words (`user_prompt`,
`external`). Strict on purpose: an unknown field, a doubled key or a wrong type is refused by name, because a
misspelt ``sources`` that was silently dropped would change what policy decides.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from aisecops.v1 import plan_pb2, provenance_pb2
from google.protobuf.message import Message

T = TypeVar("T")

_PLAN_TEXTS = ("plan_id", "trace_id", "session_id", "parent_trace_id", "intent", "environment")
_STEP_TEXTS = ("step_id", "tool", "capability")
_MOST_TOKENS = 1_000_000_000
_SOURCE_TEXTS = ("source_id", "name", "origin_uri", "digest", "tool", "step_id")


class PlanFileError(ValueError):
    """A plan file breaks the contract; ``field`` says where."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def parse_plan(text: str | bytes) -> plan_pb2.ExecutionPlan:
    """Return the plan that a JSON document describes.

    Raises:
        PlanFileError: it is not JSON, has doubled keys, or does not describe a plan.
    """
    try:
        value = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PlanFileError(f"this is not JSON: {error}", field="plan") from error
    return plan_from_mapping(value)


def plan_from_mapping(value: Any) -> plan_pb2.ExecutionPlan:
    """Return the plan that a mapping describes.

    Raises:
        PlanFileError: the mapping does not describe a plan.
    """
    fields = _fields(value, (*_PLAN_TEXTS, "steps", "sources", "delegation", "history", "model_usage"), "plan")
    plan = plan_pb2.ExecutionPlan()
    _fill(plan, fields, _PLAN_TEXTS, "plan")
    plan.steps.extend(_each(fields.get("steps", []), "steps", _step))
    plan.sources.extend(_each(fields.get("sources", []), "sources", _source))
    plan.delegation.extend(_each(fields.get("delegation", []), "delegation", _delegate))
    plan.history.extend(_each(fields.get("history", []), "history", _past_step))
    plan.model_usage.extend(_each(fields.get("model_usage", []), "model_usage", _model_usage))
    return plan


def _step(value: Any, where: str) -> plan_pb2.Step:
    fields = _fields(value, (*_STEP_TEXTS, "arguments", "depends_on", "influenced_by"), where)
    arguments = fields.get("arguments", {})
    if not isinstance(arguments, Mapping):
        raise PlanFileError("must be an object", field=f"{where}.arguments")
    step = plan_pb2.Step(
        arguments_json=json.dumps(arguments, ensure_ascii=False, separators=(",", ":")).encode(),
        depends_on=_names(fields.get("depends_on", []), f"{where}.depends_on"),
        influenced_by=_names(fields.get("influenced_by", []), f"{where}.influenced_by"),
    )
    _fill(step, fields, _STEP_TEXTS, where)
    return step


def _source(value: Any, where: str) -> provenance_pb2.Source:
    fields = _fields(value, (*_SOURCE_TEXTS, "kind", "content", "declared_trust"), where)
    source = provenance_pb2.Source()
    _fill(source, fields, _SOURCE_TEXTS, where)
    source.kind = _enum(provenance_pb2.SourceKind, "SOURCE_KIND_", fields.get("kind"), f"{where}.kind")
    source.content = _text(fields.get("content", ""), f"{where}.content").encode()
    if fields.get("declared_trust"):
        source.declared_trust = _enum(
            provenance_pb2.TrustLevel, "TRUST_LEVEL_", fields["declared_trust"], f"{where}.declared_trust"
        )
    return source


def _delegate(value: Any, where: str) -> plan_pb2.Delegate:
    names = ("agent_id", "trace_id")
    link = plan_pb2.Delegate()
    _fill(link, _fields(value, names, where), names, where)
    return link


def _past_step(value: Any, where: str) -> plan_pb2.PastStep:
    names = ("step_id", "tool")
    past = plan_pb2.PastStep()
    _fill(past, _fields(value, names, where), names, where)
    return past


def _model_usage(value: Any, where: str) -> plan_pb2.ModelUsage:
    fields = _fields(value, ("model", "input_tokens", "output_tokens"), where)
    used = plan_pb2.ModelUsage()
    _fill(used, fields, ("model",), where)
    used.input_tokens = _tokens(fields.get("input_tokens", 0), f"{where}.input_tokens")
    used.output_tokens = _tokens(fields.get("output_tokens", 0), f"{where}.output_tokens")
    return used


def _fields(value: Any, known: Sequence[str], where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PlanFileError("must be an object", field=where)
    for name in value:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; known are {', '.join(known)}"
            raise PlanFileError(f"unknown field '{name}'{hint}", field=where)
    return value


def _fill(message: Message, fields: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    for name in names:
        if name in fields:
            setattr(message, name, _text(fields[name], f"{where}.{name}"))


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise PlanFileError("must be text", field=where)
    return value


def _tokens(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_TOKENS:
        raise PlanFileError(f"must be a number between 0 and {_MOST_TOKENS}", field=where)
    return value


def _names(value: Any, where: str) -> list[str]:
    if not isinstance(value, list):
        raise PlanFileError("must be a list", field=where)
    return [_text(item, f"{where}[{index}]") for index, item in enumerate(value)]


def _each(value: Any, where: str, make: Callable[[Any, str], T]) -> list[T]:
    if not isinstance(value, list):
        raise PlanFileError("must be a list", field=where)
    return [make(item, f"{where}[{index}]") for index, item in enumerate(value)]


def _enum(kind: Any, prefix: str, word: Any, where: str) -> Any:
    known = {name.removeprefix(prefix).lower(): number for name, number in kind.items() if number}
    if word not in known:
        raise PlanFileError(f"must be one of {', '.join(known)}", field=where)
    return known[word]


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        doubled = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise PlanFileError(f"the key '{doubled}' stands twice in one object", field="plan")
    return found


def _no_constant(word: str) -> Any:
    raise PlanFileError(f"{word} is not a JSON number", field="plan")
