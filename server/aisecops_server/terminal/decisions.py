"""How a decision looks on a terminal: outcome, steps, rules with their reasons, sources with their trust.

Draws from the API's JSON and from nothing else, so that what is seen is what was answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from aisecops_server.domain.display.words import (
    DRY_RUN,
    NOT_REACHED,
    Sign,
    bare,
    counted,
    effect_sign,
    outcome_sign,
    short_revision,
    source_word,
    trust_word,
)
from aisecops_server.terminal.consoles import glyph, indented, style_of
from aisecops_server.terminal.places import Place

Json = Mapping[str, Any]

FAINT = Style(dim=True)
STRONG = Style(bold=True)


def signed(console: Console, sign: Sign, *, bold: bool = True) -> Text:
    """Return glyph and word in the sign's colour."""
    return Text(f"{glyph(console, sign)} {sign.word}", style=style_of(sign, bold=bold))


def verdict(console: Console, decision: Json) -> Text:
    """Return the one value that says what was decided; a dry run says so and what it would have been."""
    outcome = outcome_sign(str(decision.get("outcome", "")))
    if bare(str(decision.get("mode", ""))) != "DRY_RUN":
        return signed(console, outcome)
    return Text.assemble(signed(console, DRY_RUN), (f" (would be {outcome.word})", style_of(outcome)))


def head(console: Console, decision: Json, *, tools: Mapping[str, str]) -> Group:
    """Return the first line: outcome, what decided, and the revision; what decided goes below where it is too long."""
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(no_wrap=True, justify="right", style=FAINT)
    sign = verdict(console, decision)
    title = Text(because(decision, tools), style=STRONG)
    policy = f"policy {short_revision(str(decision.get('bundleRevision', '')))}"
    if sign.cell_len + title.cell_len + len(policy) + 2 <= console.width:
        table.add_row(sign, title, policy)
        return Group(table)
    table.add_row(sign, "", policy)
    return Group(table, indented(title))


def because(decision: Json, tools: Mapping[str, str]) -> str:
    """Return what decided in a few words; the reasons of rules stand with the rules, so they are not repeated."""
    outcome = outcome_sign(str(decision.get("outcome", "")))
    decisive = [item for item in decision.get("findings", []) if effect_sign(str(item.get("effect", ""))) is outcome]
    if not decisive:
        return str(decision.get("explanation", ""))
    tool = tools.get(str(decisive[0].get("stepId", "")), "")
    more = len(decisive) - 1
    return f"by {decisive[0].get('rule', '')}{f' at {tool}' if tool else ''}{f', and {more:,} more' if more else ''}"


def steps_table(console: Console, decision: Json, tools: Mapping[str, str]) -> Table:
    """Return the outcome of each step."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style=FAINT)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold", style=FAINT)
    for step in decision.get("steps", []):
        step_id = str(step.get("stepId", ""))
        capability = str(step.get("capability", ""))
        table.add_row(
            step_id,
            signed(console, outcome_sign(str(step.get("outcome", ""))), bold=False),
            tools.get(step_id, ""),
            f"by {capability}" if capability else "no capability",
        )
    return table


def finding_lines(console: Console, finding: Json, *, with_remedy: bool = True) -> Iterator[RenderableType]:
    """Yield a rule that fired: its id and place, its reason, and what would help."""
    sign = effect_sign(str(finding.get("effect", "")))
    where = str(finding.get("stepId", ""))
    yield Text.assemble(
        (f"{glyph(console, sign)} {finding.get('rule', '')}", style_of(sign)),
        (f"  {finding.get('severity', '')}", FAINT),
        (f"  step {where}" if where else "", FAINT),
    )
    yield indented(Text(str(finding.get("message", ""))))
    if with_remedy and finding.get("remedy"):
        yield indented(Text(f"mend: {finding['remedy']}", style=FAINT))
    if place := location(finding):
        yield indented(Place(place, "rule at ", FAINT))


def location(finding: Json) -> str:
    """Return ``file:line`` of a finding's rule, when it is known."""
    place = finding.get("location") or {}
    return f"{place['file']}:{place.get('line', 0)}" if place.get("file") else str(finding.get("place", ""))


def findings_block(console: Console, findings: Sequence[Json], *, with_remedy: bool = True) -> Group:
    """Return all findings, each with its reason."""
    lines = [line for finding in findings for line in finding_lines(console, finding, with_remedy=with_remedy)]
    return Group(*lines)


def sources_table(decision: Json) -> Table:
    """Return how far each source was trusted, and whether its content was seen or only declared."""
    table = Table.grid(padding=(0, 2))
    for _ in range(4):
        table.add_column(overflow="fold")
    for source in decision.get("sources", []):
        trust = trust_word(str(source.get("trust", "")))
        table.add_row(
            Text(str(source.get("sourceId", "")), style=FAINT),
            Text(f"{source_word(str(source.get('kind', '')))} · {trust}", style=trust_style(trust)),
            Text(str(source.get("name", "") or source.get("originUri", ""))),
            Text("content hashed" if source.get("verified") else "digest declared", style=FAINT),
        )
    return table


def trust_style(trust: str) -> Style:
    """Return the style of a trust level: weight and line, never the colour of an outcome."""
    return {
        "trusted": Style(bold=True),
        "internal": Style(),
        "external": Style(italic=True, underline=True),
        "unverified": Style(italic=True, underline2=True),
    }.get(trust, Style(dim=True))


def facts_block(decision: Json) -> Group:
    """Return the parts of the input document that each rule read."""
    parts: list[RenderableType] = []
    for finding in decision.get("findings", []):
        if facts := finding.get("facts", []):
            parts.append(Text(str(finding.get("rule", "")), style=STRONG))
            parts.extend(
                indented(Text.assemble((str(fact["pointer"]), FAINT), " = ", str(fact["valueJson"])), (0, 0, 0, 2))
                for fact in facts
            )
    return Group(*parts) if parts else Group(Text("no rule read anything that it objected to", style=FAINT))


def decision_block(console: Console, decision: Json, *, tools: Mapping[str, str]) -> Group:
    """Return a whole decision."""
    findings = list(decision.get("findings", []))
    parts: list[RenderableType] = [
        head(console, decision, tools=tools),
        indented(asked_by(decision)),
        indented(steps_table(console, decision, tools), (0, 0, 0, 2)),
    ]
    if findings:
        parts.append(indented(findings_block(console, findings), (1, 0, 0, 2)))
    if decision.get("sources"):
        parts.append(indented(Group(Text("sources", style=FAINT), sources_table(decision)), (1, 0, 0, 2)))
    return Group(*parts)


def asked_by(decision: Json) -> Text:
    """Return who the credential proved the asker to be, which is what policy went by."""
    principal = decision.get("principal") or {}
    return Text.assemble(("asked by ", FAINT), str(principal.get("id", "")) or "nobody that was proved")


def outcome_counts(console: Console, outcomes: Sequence[str]) -> Text:
    """Return how often each outcome occurred, most restrictive first."""
    words = [outcome_sign(name) for name in ("DENY", "REQUIRE_APPROVAL", "ALLOW")]
    names = [outcome_sign(outcome) for outcome in outcomes]
    parts = [
        Text(f"{glyph(console, sign)} {names.count(sign):,} {sign.word}", style=style_of(sign, bold=True))
        for sign in words
        if sign in names
    ]
    return Text("   ").join(parts) if parts else Text(counted(0, "decision"), style=style_of(NOT_REACHED))
