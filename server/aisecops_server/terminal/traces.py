"""How a trace looks: its decisions, each with the gate strip of every step."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from aisecops_server.domain.display.words import bare, counted, trust_word
from aisecops_server.terminal.consoles import indented
from aisecops_server.terminal.decisions import FAINT, findings_block, head, sources_table, trust_style
from aisecops_server.terminal.gates import gate_strip, legend
from aisecops_server.terminal.lists import agent_word, taken_by

Json = Mapping[str, Any]
# Two that are alike are read sooner than a number is.
LEAST = 3


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
            (f"  {took}" if (took := taken_by(summary)) else "", FAINT),
        ),
    ]
    parts += [Text(told, style="bold") for told in _erasures(found)]
    events = _by_decision(found)
    for loop in _loops(found.get("decisions", []), events):
        first, *others = loop
        parts.append(Text(""))
        parts.append(_decision(console, events.get(_id(first), []), _placed(first, places)))
        if others:
            said = f"and {counted(len(others), 'more plan')} with the same steps and decision, up to {_id(others[-1])}"
            parts.append(Text(said, style=FAINT))
    return Group(*parts, Text(""), legend(console))


def _id(decision: Json) -> str:
    return str(decision.get("decisionId", ""))


def _by_decision(found: Json) -> dict[str, list[Json]]:
    events: dict[str, list[Json]] = {}
    for event in found.get("events", []):
        events.setdefault(str(event.get("decisionId", "")), []).append(event)
    return events


def _loops(decisions: Sequence[Json], events: Mapping[str, list[Json]]) -> Iterator[list[Json]]:
    """Yield decisions in a row that are alike, where there are enough of them, and else each by itself."""
    for _, alike in itertools.groupby(decisions, key=lambda decision: _look(decision, events.get(_id(decision), []))):
        loop = list(alike)
        yield from [loop] if len(loop) >= LEAST else ([decision] for decision in loop)


def _look(decision: Json, events: Sequence[Json]) -> tuple[object, ...]:
    """Return what of a decision is shown and does not differ from one turn of a loop to the next."""
    kinds = [(event.get("type"), event.get("stage")) for event in events]
    parts = (decision.get(name) for name in ("outcome", "mode", "steps", "findings", "sources", "bundleRevision"))
    return (*parts, tools_of_events(events), kinds)


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


def _decision(console: Console, own: Sequence[Json], decision: Json) -> Group:
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


def tools_of_events(events: Sequence[Json]) -> dict[str, str]:
    """Return the tool of each step, as the log's own plan event has it."""
    for event in events:
        if event.get("type") == "plan.received":
            details = json.loads(base64.b64decode(event.get("bodyJson", ""))).get("details", {})
            return {str(step["id"]): str(step["tool"]) for step in details.get("steps", [])}
    return {}
