"""How policy revisions look: what is live, which rules it carries, what changed between two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import ALLOWED, BLOCKED, counted, effect_sign, short_revision
from aisecops_server.terminal.consoles import glyph, style_of
from aisecops_server.terminal.decisions import FAINT, STRONG
from aisecops_server.terminal.lists import revision_table
from aisecops_server.terminal.places import Place

_EFFECT_VERBS = {"blocked": "blocks", "escalated": "escalates", "warned": "warns"}

Json = Mapping[str, Any]
When = Callable[[str], str]


def status_block(status: Json, when: When) -> Group:
    """Return what is served and what went wrong last."""
    shown = [status[name] for name in ("live", "previous") if (status.get(name) or {}).get("commit")]
    parts: list[RenderableType] = [
        revision_table(shown, when) if shown else Text("no revision is live: every plan is refused")
    ]
    parts.append(Text.assemble(("repository read ", FAINT), when(str(status.get("syncedAt") or ""))))
    wanted = str(status.get("wanted", ""))
    if wanted and wanted != str((status.get("live") or {}).get("commit", "")):
        parts.append(Text(f"wanted {short_revision(wanted)} is not live", style=style_of(BLOCKED)))
        if shown and not status.get("problem"):
            parts.append(Text("it was left by a rollback or an activation by name; the next commit is followed again"))
    if status.get("channel"):
        parts.append(_channel_line(status["channel"], when))
    if status.get("problem"):
        parts.append(Text(f"problem: {status['problem']}", style=style_of(BLOCKED)))
    return Group(*parts)


def _channel_line(channel: Json, when: When) -> Text:
    name, state = str(channel.get("channel", "")), str(channel.get("state", "")).removeprefix("CHANNEL_STATE_").lower()
    sign = style_of(ALLOWED if state == "current" else BLOCKED)
    if not channel.get("commit"):
        return Text.assemble((f"channel {name} ", FAINT), (state, sign), ", nothing was announced that counts")
    return Text.assemble(
        (f"channel {name} ", FAINT),
        (state, sign),
        f", announces {short_revision(str(channel['commit']))} as number {channel.get('counter')} until ",
        when(str(channel.get("expiresAt", ""))),
    )


def revision_block(console: Console, found: Json, when: When) -> Group:
    """Return one revision and its rules."""
    revision = found.get("revision", {})
    rules = found.get("rules", [])
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for rule in rules:
        sign = effect_sign(str(rule.get("effect", "")))
        effect = Text(f"{glyph(console, sign)} {_EFFECT_VERBS.get(sign.word, sign.word)}", style=style_of(sign))
        name = Text.assemble(str(rule.get("rule", "")), (f"  {rule.get('title', '')}, {rule.get('owner', '')}", FAINT))
        table.add_row(effect, name)
        table.add_row("", Place(f"{rule.get('file', '')}:{rule.get('line', 0)}", style=FAINT))
    return Group(
        Text.assemble(("revision ", FAINT), (str(revision.get("commit", "")), STRONG)),
        Text.assemble(("bundle ", FAINT), str(revision.get("bundleDigest") or "not built yet")),
        revision_table([revision], when),
        Text(""),
        Text(counted(len(rules), "rule"), style=FAINT),
        table,
    )


def diff_block(files: Mapping[str, str]) -> Group:
    """Return unified diffs, one file after the other."""
    return Group(*(diff_lines(text) for text in files.values()))


def diff_lines(text: str) -> Text:
    """Return one unified diff with its added and removed lines told apart by sign and colour."""
    lines = [Text(line, style=_line_style(line)) for line in text.splitlines()]
    return Text("\n").join(lines)


def _line_style(line: str) -> Style:
    if line.startswith(("+++", "---")):
        return STRONG
    if line.startswith("@@"):
        return FAINT
    if line.startswith("+"):
        return style_of(ALLOWED)
    return style_of(BLOCKED) if line.startswith("-") else Style()
