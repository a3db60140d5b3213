"""How a trace looks: its decisions, each with the gate strip of every step."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from aisecops_server.domain.words import bare, counted, trust_word
from aisecops_server.terminal.consoles import indented
from aisecops_server.terminal.decisions import FAINT, findings_block, head, sources_table, trust_style
from aisecops_server.terminal.gates import gate_strip, legend
from aisecops_server.terminal.lists import agent_word

Json = Mapping[str, Any]


def trace_block(
    console: Console, found: Json, when: Callable[[str], str], places: Mapping[tuple[str, str], str]
) -> Group:
    """Return a whole trace; ``places`` are files and lines by revision and rule."""
    summary = found.get("summary", {})
    trust = trust_word(str(summary.get("lowestTrust", "")))
    parts: list[RenderableType] = [
        Text.assemble(
            ("trace ", FAINT), str(summary.get("traceId", "")), (f"  {when(str(summary.get('startedAt', '')))}", FAINT)
        ),
        Text(str(summary.get("intent") or _no_intent(found)), style="bold"),
        Text.assemble(
            ("agent ", FAINT),
            agent_word(str(summary.get("agentId", ""))),
            ("  lowest trust ", FAINT),
            (trust, trust_style(trust)),
            (f"  {counted(int(summary.get('decisions', 0)), 'decision')}", FAINT),
        ),
    ]
    parts += [Text(told, style="bold") for told in _erasures(found)]
    for decision in found.get("decisions", []):
        parts.append(Text(""))
        parts.append(_decision(console, found, _placed(decision, places)))
    return Group(*parts, Text(""), legend(console))


def _no_intent(found: Json) -> str:
    return "what was written here was erased" if any(_tombstones(found)) else "no intent was given"


def _erasures(found: Json) -> Iterator[str]:
    for event in _tombstones(found):
        details = json.loads(base64.b64decode(event.get("bodyJson", "")))["details"]
        yield (
            f"erased by {details['principal']}: {details['reason']}"
            f" (event {event.get('logIndex', 0)}, up to event {details['through']}, class {details['class']})"
        )


def _tombstones(found: Json) -> Iterator[Json]:
    return (event for event in found.get("events", []) if event.get("type") == "payload.erased")


def _decision(console: Console, found: Json, decision: Json) -> Group:
    own = [event for event in found.get("events", []) if event.get("decisionId") == decision.get("decisionId")]
    reached = {bare(str(event.get("stage", ""))).lower() for event in own}
    tools = tools_of_events(own)
    parts: list[RenderableType] = [
        head(console, decision, tools=tools),
        Text(str(decision.get("decisionId", "")), style=FAINT),
        gate_strip(console, decision, tools=tools, reached=reached),
    ]
    if decision.get("findings"):
        parts.append(indented(findings_block(console, decision["findings"]), (1, 0, 0, 0)))
    if decision.get("sources"):
        parts.append(indented(sources_table(decision), (1, 0, 0, 0)))
    return Group(*parts)


def _placed(decision: Json, places: Mapping[tuple[str, str], str]) -> Json:
    revision = str(decision.get("bundleRevision", ""))
    return {
        **decision,
        "findings": [
            {"place": places.get((revision, str(finding.get("rule", ""))), ""), **finding}
            for finding in decision.get("findings", [])
        ],
    }


def tools_of_events(events: list[Json]) -> dict[str, str]:
    """Return the tool of each step, as the log's own plan event has it."""
    for event in events:
        if event.get("type") == "plan.received":
            details = json.loads(base64.b64decode(event.get("bodyJson", ""))).get("details", {})
            return {str(step["id"]): str(step["tool"]) for step in details.get("steps", [])}
    return {}
