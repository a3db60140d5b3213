"""What was done by decisions: grants with what became of them, and incidents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import severity_sign, state_sign
from aisecops_server.terminal.decisions import FAINT, signed
from aisecops_server.terminal.lists import agent_word, plain_table

Json = Mapping[str, Any]
When = Callable[[str], str]


def grant_table(console: Console, grants: Sequence[Json], when: When) -> Table:
    """Return the grants of a decision, in plan order."""
    table = plain_table("step", "tool", "state", "ends", "grant")
    for grant in grants:
        state = signed(console, state_sign(str(grant["state"])), bold=False)
        if grant["revoked"]:
            state.append(" (revoked)")
        table.add_row(
            str(grant["stepId"]), str(grant["tool"]), state, when(str(grant["expiresAt"])), str(grant["grantId"])
        )
    return table


def incident_line(console: Console, incident: Json, when: When) -> Text:
    """Return one incident: what, how bad, who, with what, and where to look."""
    event = incident["event"]
    first = Text("  ").join(
        [
            Text(when(str(event["occurredAt"])), style=FAINT),
            signed(console, severity_sign(str(incident["severity"]))),
            Text(str(incident["kind"])),
            Text(agent_word(str(incident["agentId"]))),
            Text(str(incident["tool"]), style=FAINT),
            Text(f"trace {event['traceId']}" if event["traceId"] else "", style=FAINT),
        ]
    )
    return Text.assemble(first, f"\n    {incident['message']}")
