"""What Claude Code calls things, and what of a tool's output may be passed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aisecops_client.frameworks._bridge import passed_on
from aisecops_client.obligations import Duty

# Members of a tool's output that are texts for the model, and no fields of a record.
_TEXTS = frozenset({"text", "stdout", "stderr", "content", "output"})


def policy_name(name: str, known: Mapping[str, str]) -> str:
    """Return policy's name of a tool, `server/tool`."""
    if name in known:
        return known[name]
    server, joint, tool = name.removeprefix("mcp__").partition("__")
    return f"{server}/{tool}" if name.startswith("mcp__") and joint else f"claude-code/{name}"


def shown(result: Any, duties: Sequence[Duty]) -> Any:
    """Return what of a tool's output may be passed on; the texts in it are read as records, or go whole.

    Raises:
        ObligationUnmetError: that cannot be said.
    """
    if not any(duty.kind in ("redact", "limit") and duty.parameters.get("of", "result") == "result" for duty in duties):
        return result
    return passed_on(_texts(result, duties), duties)


def _texts(value: Any, duties: Sequence[Duty]) -> Any:
    if isinstance(value, Mapping):
        return {
            name: passed_on(member, duties) if name in _TEXTS and isinstance(member, str) else _texts(member, duties)
            for name, member in value.items()
        }
    return [_texts(item, duties) for item in value] if isinstance(value, list | tuple) else value
