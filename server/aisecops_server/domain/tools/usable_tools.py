"""Which tools an agent may ask for: what a list of tools shows it, so that it is not tempted by what it will not get.

This decides nothing. A call of a tool that is not listed is asked for and denied like any other, and a call of one that
is may be denied for what it would do. A tool is left out where policy would deny every call of it to the agent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aisecops_server.domain.formats.canonical import JsonValue

# The rules that deny every call of a tool, and what makes each find something.
_UNDECLARED = "capability.tool_undeclared"
_NOT_GRANTED = "capability.capability_not_granted"
_INAPPLICABLE = "capability.grant_inapplicable"
_SERVER = "mcp.server_not_allowed"
_TOOL = "mcp.tool_not_allowed"
_ELSEWHERE = "identity.environment_mismatched"


@dataclass(frozen=True, slots=True)
class UsableTool:
    """A tool by its qualified name, with what policy says of it."""

    name: str
    effect: str
    result_trust: str


@dataclass(frozen=True, slots=True)
class UsableTools:
    """Tools by name; ``unlisted`` says that tools which no table describes may be asked for too."""

    tools: tuple[UsableTool, ...] = ()
    unlisted: bool = False


def usable_tools(tables: Mapping[str, JsonValue], agent_id: str, environment: str, *, now_seconds: int) -> UsableTools:
    """Return what compiled ``tables`` open to an agent in an environment; nothing to one that they do not know."""
    known: Any = tables
    agent = known.get("agents", {}).get(agent_id)
    if agent is None:
        return UsableTools()
    narrowed = known.get("grants", {}).get(agent_id, {})
    observed = _Observation(agent.get("mode", "enforce"), known.get("modes", {}).get("rules", {}))

    def reasons(entry: Mapping[str, Any]) -> Iterator[str]:
        if environment not in agent["environments"]:
            yield _ELSEWHERE
        if environment not in entry["allowed_in"]:
            yield _TOOL
        held = agent["capabilities"].keys() & entry["capabilities"].keys()
        if not held:
            yield _NOT_GRANTED
        elif not any(_applies(narrowed.get(name, {}), environment, now_seconds) for name in held):
            yield _INAPPLICABLE

    tools = [
        UsableTool(name, entry["effect"], entry["result_trust"])
        for name, entry in sorted(known.get("tools", {}).items())
        if all(observed.of(rule) for rule in reasons(entry))
    ]
    unlisted = all(observed.of(rule) for rule in (_UNDECLARED, _NOT_GRANTED, _SERVER, _TOOL))
    return UsableTools(tuple(tools), unlisted=unlisted)


@dataclass(frozen=True, slots=True)
class _Observation:
    """Whether what a rule finds about an agent is only observed: as is said of the rule, its category, the agent."""

    mode: str
    rules: Mapping[str, str]

    def of(self, rule: str) -> bool:
        category = rule.partition(".")[0]
        return self.rules.get(rule, self.rules.get(category, self.mode)) == "observe"


def _applies(grant: Mapping[str, Any], environment: str, now_seconds: int) -> bool:
    in_time = now_seconds < grant.get("expires_at_seconds", now_seconds + 1)
    return in_time and environment in grant.get("environments", {environment: True})
