"""Rollouts on a screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import requirement_sign
from aisecops_server.terminal.consoles import glyph, indented, style_of
from aisecops_server.terminal.decisions import FAINT

Json = Mapping[str, Any]
When = Callable[[str], str]
_STAGES = {
    "SHADOW": "shadow: it sees plans and decides none",
    "CANARY": "canary: it decides for some agents",
    "PROMOTED": "promoted",
    "ROLLED_BACK": "rolled back",
    "ABORTED": "aborted",
}
_COMMIT_CHARACTERS = 12
_SHOWN = 10


def rollout_table(console: Console, rollouts: Sequence[Json], when: When) -> Table:
    """Return a list of rollouts, one a line."""
    table = Table.grid(padding=(0, 2))
    for rollout in rollouts:
        table.add_row(
            _sign(console, rollout),
            _commit(rollout["candidate"]),
            _stage(rollout).partition(":")[0],
            f"{int(rollout['compared']):,} compared",
            f"{_disagreements(rollout):,} disagree",
            Text(when(str(rollout["moved"]["at"])), style=FAINT),
        )
    return table


def rollout_block(console: Console, rollout: Json, when: When) -> RenderableType:
    """Return everything about one rollout."""
    title = Text.assemble(_sign(console, rollout), f" {_commit(rollout['candidate'])}  {_stage(rollout)}")
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(rollout, when):
        facts.add_row(Text(name, style=FAINT), value)
    lines: list[RenderableType] = [title, indented(facts)]
    differing = [*rollout["rules"][:_SHOWN], *rollout["agents"][:_SHOWN]]
    lines += [Text(f"  {int(each['count']):>6,} {each['direction']:<8} {each['name']}") for each in differing]
    lines += [Text(f"  such as {sample['decisionId']}  {sample['direction']}") for sample in rollout["samples"][-3:]]
    lines += [Text(f"  not yet: {problem}") for problem in rollout["problems"]]
    return Group(*lines)


def _facts(rollout: Json, when: When) -> list[tuple[str, str]]:
    moved = rollout["moved"]
    forced = ", forced" if moved["forced"] else ""
    facts = [
        ("beside", _commit(rollout["base"])),
        ("moved", f"{when(str(moved['at']))} by {moved['by']}{forced}"),
        ("why", str(moved["reason"])),
        ("for", _chosen(rollout["selector"] or {})),
        ("compared", _compared(rollout)),
        ("health", _health(rollout)),
    ]
    return [(name, value) for name, value in facts if value]


def _compared(rollout: Json) -> str:
    parts = (("same", "the same"), ("other", "for other reasons"), ("looser", "looser"), ("stricter", "stricter"))
    return f"{int(rollout['compared']):,}: " + ", ".join(f"{int(rollout[name]):,} {said}" for name, said in parts)


def _health(rollout: Json) -> str:
    failed = f"{int(rollout['errors']):,} errors and {int(rollout['slow']):,} slow"
    return f"{failed} of {int(rollout['answered']):,} evaluations, {int(rollout['dropped']):,} not compared"


def _chosen(selector: Json) -> str:
    parts = [f"{selector['percent']} % of agents"] if selector.get("percent") else []
    for name in ("agents", "teams", "environments"):
        parts += [f"{name} {', '.join(selector[name])}"] if selector.get(name) else []
    return "; ".join(parts)


def _stage(rollout: Json) -> str:
    return _STAGES.get(str(rollout["stage"]).removeprefix("ROLLOUT_STAGE_"), str(rollout["stage"]))


def _commit(side: Json) -> str:
    return str(side["commit"])[:_COMMIT_CHARACTERS]


def _disagreements(rollout: Json) -> int:
    return int(rollout["looser"]) + int(rollout["stricter"])


def _sign(console: Console, rollout: Json) -> Text:
    stage = str(rollout["stage"]).removeprefix("ROLLOUT_STAGE_")
    sign = requirement_sign("FAILS" if stage in ("ROLLED_BACK", "ABORTED") else "HOLDS")
    return Text(glyph(console, sign), style=style_of(sign))
