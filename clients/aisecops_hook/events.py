"""What coding agents send to a hook, brought to one shape.

Claude Code, Codex and Gemini CLI name the event (`hook_event_name`) and the tool (`tool_name`, `tool_input`). Copilot
names neither event nor session, and sends the tool as `toolName` with its arguments as JSON text (`toolArgs`).
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from aisecops_hook.failures import HookError

STDIN_BYTES = 4 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class Kind(enum.Enum):
    """What an event is about."""

    BEFORE = "before"
    AFTER = "after"
    FAILED = "failed"
    PROMPT = "prompt"
    END = "end"


_KINDS = {
    "PreToolUse": Kind.BEFORE,
    "BeforeTool": Kind.BEFORE,
    "preToolUse": Kind.BEFORE,
    "PostToolUse": Kind.AFTER,
    "AfterTool": Kind.AFTER,
    "postToolUse": Kind.AFTER,
    "PostToolUseFailure": Kind.FAILED,
    "UserPromptSubmit": Kind.PROMPT,
    "BeforeAgent": Kind.PROMPT,
    "userPromptSubmitted": Kind.PROMPT,
    "SessionEnd": Kind.END,
    "sessionEnd": Kind.END,
}
EVENTS = tuple(_KINDS)


class Event(NamedTuple):
    """One event. ``result`` is what a tool gave; ``prompt`` what a person said."""

    kind: Kind
    session: str
    tool: str = ""
    arguments: Mapping[str, Any] = MappingProxyType({})
    result: Any = None
    prompt: str = ""


def read_event(data: bytes, *, named: str, agent: str, tools: Mapping[str, str]) -> Event:
    """Return the event in ``data``; ``named`` is its name where the agent does not send it.

    Raises:
        HookError: it cannot be understood.
    """
    if len(data) > STDIN_BYTES:
        raise HookError(f"the event is larger than {STDIN_BYTES} bytes")
    try:
        given = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise HookError("the event is no JSON object") from error
    if not isinstance(given, dict):
        raise HookError("the event is no JSON object")
    name = given.get("hook_event_name", named)
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None or (named and name != named):
        raise HookError(f"the event {ascii(name)[:80]} is not known here")
    session = given.get("session_id") or given.get("sessionId") or f"{agent} {given.get('cwd', '')}"
    if kind in (Kind.PROMPT, Kind.END):
        return Event(kind, str(session), prompt=str(given.get("prompt") or ""))
    result = given.get("tool_response", given.get("toolResult", given.get("error")))
    tool = _policy_name(given.get("tool_name", given.get("toolName")), agent, tools)
    return Event(kind, str(session), tool, _arguments(given), result)


def _arguments(given: Mapping[str, Any]) -> Mapping[str, Any]:
    arguments = given.get("tool_input", given.get("toolArgs"))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise HookError("the arguments of the tool are no JSON object") from error
    if not isinstance(arguments, dict):
        raise HookError("the arguments of the tool are no JSON object")
    return arguments


def _policy_name(name: Any, agent: str, tools: Mapping[str, str]) -> str:
    """Return policy's name of a tool: the one that was given for it, `server/tool` of MCP, or the agent's own."""
    if isinstance(name, str) and name in tools:
        return tools[name]
    server, tool = agent, name
    if isinstance(name, str) and name.startswith("mcp__"):
        server, _, tool = name.removeprefix("mcp__").partition("__")
    if not (isinstance(tool, str) and _NAME.fullmatch(server) and _NAME.fullmatch(tool)):
        raise HookError(f"the tool {ascii(name)[:80]} has no name that policy could know")
    return f"{server}/{tool}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object in which no name comes twice: two readers would not agree on it."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name comes twice")
    return made
