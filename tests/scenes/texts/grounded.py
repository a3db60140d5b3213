"""Plans whose values are to be grounded, and short ways to look at what was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aisecops_server.adapters.records.yaml_records import yaml_scalars
from aisecops_server.domain.formats.canonical import JsonValue, digest
from aisecops_server.domain.grounding.grounding import Grounding, ground
from aisecops_server.domain.plans.plan import ExecutionPlan, PlanId, SessionId, Step, StepId, TraceId
from aisecops_server.domain.plans.provenance import Source, SourceId, SourceKind


def source(id: str, content: str | None, *, name: str = "", tool: str = "x/read") -> Source:
    """Return a tool result, or a user prompt when the id starts with "user"."""
    kind = SourceKind.USER_PROMPT if id.startswith("user") else SourceKind.TOOL_RESULT
    return Source(
        id=SourceId(id),
        kind=kind,
        name=name,
        origin_uri="",
        content=content,
        digest=digest((content or "").encode("utf-8", "surrogatepass")),
        digest_verified=content is not None,
        declared_trust=None,
        tool="" if kind is SourceKind.USER_PROMPT else tool,
        step_id="",
    )


def plan(arguments: Mapping[str, JsonValue], *sources: Source, tool: str = "x/delete_file") -> ExecutionPlan:
    """Return a plan with one call."""
    step = Step(StepId("s1"), tool, "", arguments, (), ())
    return ExecutionPlan(
        PlanId("p"), TraceId("0" * 32), SessionId("s"), "", "", "production", (step,), tuple(sources), (), ()
    )


def grounded(arguments: Mapping[str, JsonValue], *sources: Source, tool: str = "x/delete_file") -> Grounding:
    """Ground one call, reading records the way the control plane does."""
    return ground(plan(arguments, *sources, tool=tool), yaml_scalars)


def values(found: Grounding) -> list[dict[str, Any]]:
    """Return the values of the one step."""
    held: Any = found.values[StepId("s1")]
    return list(held)


def seen(value: JsonValue, text: str, *, tool: str = "x/delete_file") -> tuple[str, bool] | None:
    """Return the form in which one source has a value, and whether prose has it; nothing if it does not occur."""
    (first, *_) = values(grounded({"value": value}, source("r", text), tool=tool))
    found = first["found"]
    return (found[0]["form"], found[0]["prose"]) if found else None
