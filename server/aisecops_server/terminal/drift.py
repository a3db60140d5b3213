"""Drift on a screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from aisecops_server.domain.display.words import requirement_sign
from aisecops_server.terminal.consoles import glyph, style_of
from aisecops_server.terminal.decisions import FAINT

Json = Mapping[str, Any]


def report_block(console: Console, report: Json, when: Callable[[str], str]) -> RenderableType:
    """Return what one look found: records first, then policy."""
    lines: list[RenderableType] = [
        _line(
            console,
            f"{report['reproduced']} of {report['checked']} recent decisions come out again",
            good=not report["problems"],
        )
    ]
    for problem in report["problems"]:
        lines.append(Text(f"  {problem['count']} {problem['reason']}: {problem['message']}"))
        lines.append(Text(f"    such as {problem['example']}  {problem['detail']}".rstrip(), style=FAINT))
    for policy in report["policies"]:
        lines += _policy(console, policy)
    lines.append(Text(f"  looked at {when(str(report['checkedAt']))}", style=FAINT))
    return Group(*lines)


def _policy(console: Console, policy: Json) -> list[RenderableType]:
    name = f"{policy['name']} {str(policy['revision'])[:12]}"
    if policy["problem"]:
        return [_line(console, f"{name} could not be asked: {policy['problem']}", good=False)]
    flips = policy["looser"] + policy["stricter"]
    text = f"{name}: {flips} of {policy['compared']} would come out otherwise"
    parts = [f"{policy[kind]} {kind}" for kind in ("looser", "stricter", "risky", "undecided") if policy[kind]]
    found: list[RenderableType] = [_line(console, ", ".join([text, *parts]), good=not flips)]
    if policy["examples"]:
        found.append(Text(f"    such as {', '.join(policy['examples'])}", style=FAINT))
    return found


def _line(console: Console, text: str, *, good: bool) -> Text:
    sign = requirement_sign("HOLDS" if good else "FAILS")
    return Text.assemble((glyph(console, sign), style_of(sign)), f" {text}")
