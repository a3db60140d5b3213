"""How an explanation looks: one section for each question that an investigator asks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from aisecops_server.domain.display.words import ALLOWED, BLOCKED
from aisecops_server.terminal.consoles import glyph, indented, style_of
from aisecops_server.terminal.decisions import (
    FAINT,
    STRONG,
    facts_block,
    findings_block,
    head,
    sources_table,
    steps_table,
)

Json = Mapping[str, Any]


def explanation_block(console: Console, explained: Json, document: bytes) -> Group:
    """Return everything that is known about one decision."""
    decision = explained["decision"]
    tools = tools_of_document(document)
    findings = decision.get("findings", [])
    sections: list[tuple[str, RenderableType]] = [
        ("Who or what started it", initiator(explained.get("initiator", {}), decision)),
        ("What was proposed and decided", steps_table(console, decision, tools)),
        ("Which rules decided", findings_block(console, findings) if findings else Text("no rule objected")),
        ("What the rules read", facts_block(decision)),
        ("Which sources, and how far they were trusted", sources_table(decision)),
        ("What influenced each step", Group(*influences(explained))),
        ("Which capability covers each step", Group(*capabilities(console, explained))),
        ("Can it be reproduced", reproduced(console, explained)),
    ]
    parts: list[RenderableType] = [head(console, decision, tools=tools)]
    for title, body in sections:
        parts.extend((Text(""), Text(title, style=STRONG), indented(body, (0, 0, 0, 2))))
    if explained.get("traceText"):
        parts.extend((Text(""), Text("The engine's own trace", style=STRONG), Text(str(explained["traceText"]))))
    return Group(*parts)


def tools_of_document(document: bytes) -> dict[str, str]:
    """Return the tool of each step of an input document."""
    steps = json.loads(document).get("plan", {}).get("steps", []) if document else []
    return {str(step["id"]): str(step["tool"]) for step in steps}


def initiator(who: Json, decision: Json) -> Group:
    """Return the agent, its session, and the agents above it, nearest first."""
    principal = decision.get("principal", {})
    above = [
        f"on behalf of {link.get('agentId', '')} in trace {link.get('traceId') or 'unknown'}"
        for link in reversed(who.get("delegation", []))
    ]
    lines = [
        f"agent {who.get('agentId', '')}, proved by {principal.get('authenticatedBy') or 'nothing'}",
        f"session {who.get('sessionId') or 'none'}, trace {decision.get('traceId', '')}",
        *(above or ["on nobody's behalf: a person or a schedule started it"]),
        f"decided {decision.get('decidedAt', '')}",
        f"by policy {decision.get('bundleRevision', '')} on engine {decision.get('engineVersion', '')}",
    ]
    return Group(*(Text(line) for line in lines))


def influences(explained: Json) -> Iterator[RenderableType]:
    """Yield which source led to which step, and by which of its values."""
    found = explained.get("influences", [])
    if not found:
        yield Text("none was named", style=FAINT)
    for item in found:
        pointers = ", ".join(item.get("pointers", []))
        seen = f"its text holds the value of {pointers}" if pointers else "declared; none of its text was reused"
        yield Text.assemble(f"{item.get('stepId', '')} ← {item.get('sourceId', '')}", (f"  {seen}", FAINT))


def capabilities(console: Console, explained: Json) -> Iterator[RenderableType]:
    """Yield the grant of each step, or that there is none."""
    for item in explained.get("capabilities", []):
        sign = ALLOWED if item.get("granted") else BLOCKED
        name = item.get("capability") or "none"
        by = f", granted by {item['grantedBy']}" if item.get("grantedBy") else ""
        text = f"{item.get('stepId', '')} {glyph(console, sign)} {name}{by}"
        yield Text(text if item.get("granted") else f"{text} (not granted)", style=style_of(sign))


def reproduced(console: Console, explained: Json) -> Text:
    """Return whether the stored document gave the same decision again."""
    replay = explained.get("replay", {})
    if replay.get("reproduced"):
        text = "yes: the stored document gives the same decision again at the recorded revision"
        return Text(f"{glyph(console, ALLOWED)} {text}", style=style_of(ALLOWED))
    return Text(f"{glyph(console, BLOCKED)} no: {replay.get('reason', 'unknown')}", style=style_of(BLOCKED))
