"""The words, glyphs and colours that people see, made in one place.

Owns how outcomes, trust levels, source kinds and stages are called on a screen. Never decides anything and
imports no drawing library, so a command that only prints help pays nothing for it. The keys are the names
that the API's JSON uses.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aisecops_server.domain.decisions.timeline import stage_of


@dataclass(frozen=True, slots=True)
class Sign:
    """How one meaning is shown: always a word and a glyph, and a colour where there is one."""

    word: str
    glyph: str
    plain: str
    light: str
    dark: str


ALLOWED = Sign("allowed", "✓", "+", "#1a6b63", "#7fe3d8")
BLOCKED = Sign("blocked", "✕", "x", "#8f1120", "#ff7066")
ESCALATED = Sign("escalated", "▲", "!", "#856404", "#ffcc33")
DRY_RUN = Sign("dry-run", "◌", "o", "#6a2fd8", "#b39bff")
ERROR = Sign("error", "!", "E", "#8c1d5c", "#ff8fc7")
NOT_REACHED = Sign("not reached", "·", ".", "#5a6472", "#9aa7b5")
WARNED = Sign("warned", "≈", "~", "#856404", "#ffcc33")

_OUTCOMES = {"ALLOW": ALLOWED, "DENY": BLOCKED, "REQUIRE_APPROVAL": ESCALATED}
_EFFECTS = {"DENY": BLOCKED, "REQUIRE_APPROVAL": ESCALATED, "WARN": WARNED}
_APPROVALS = {
    "REQUESTED": Sign("waits", "▲", "!", ESCALATED.light, ESCALATED.dark),
    "GRANTED": Sign("granted", "✓", "+", ALLOWED.light, ALLOWED.dark),
    "REJECTED": Sign("rejected", "✕", "x", BLOCKED.light, BLOCKED.dark),
    "WITHDRAWN": Sign("withdrawn", "·", ".", NOT_REACHED.light, NOT_REACHED.dark),
    "EXPIRED": Sign("expired", "·", ".", NOT_REACHED.light, NOT_REACHED.dark),
    "CONSUMED": Sign("used", "✓", "+", ALLOWED.light, ALLOWED.dark),
}
_CHOICES = {
    "APPROVE": Sign("agreed", "✓", "+", ALLOWED.light, ALLOWED.dark),
    "DENY": Sign("denied", "✕", "x", BLOCKED.light, BLOCKED.dark),
}
_CHECKS = {
    "ok": Sign("ok", "✓", "+", ALLOWED.light, ALLOWED.dark),
    "warn": Sign("warn", "≈", "~", WARNED.light, WARNED.dark),
    "fail": Sign("fail", "✕", "x", BLOCKED.light, BLOCKED.dark),
    "skipped": Sign("skipped", "·", ".", NOT_REACHED.light, NOT_REACHED.dark),
}

_STATES = {
    "ISSUED": NOT_REACHED,
    "REDEEMED": NOT_REACHED,
    "EXECUTED": ALLOWED,
    "FAILED": BLOCKED,
    "EXPIRED_UNKNOWN": ESCALATED,
}
_REQUIREMENTS = {
    "HOLDS": Sign("holds", "✓", "+", ALLOWED.light, ALLOWED.dark),
    "FAILS": Sign("fails", "✕", "x", BLOCKED.light, BLOCKED.dark),
    "NOT_CHECKED": Sign("not checked", "·", ".", NOT_REACHED.light, NOT_REACHED.dark),
    "NOT_COVERED": Sign("not covered", "–", "-", NOT_REACHED.light, NOT_REACHED.dark),
}
_SEVERITIES = {"critical": BLOCKED, "high": BLOCKED, "medium": ESCALATED, "low": WARNED}

# Most restrictive first: the order in which people want to see them.
OUTCOME_ORDER = ("DENY", "REQUIRE_APPROVAL", "ALLOW")

TRUST_ORDER = ("trusted", "internal", "external", "unverified")

SOURCE_WORDS = {
    "agent_identity": "identity",
    "user_prompt": "prompt",
    "system_prompt": "system prompt",
    "skill": "skill",
    "memory": "memory",
    "retrieval_chunk": "retrieval",
    "tool_result": "tool result",
    "agent_message": "agent message",
}

# The phases of adoption, by their number.
PHASES = ("UNGOVERNED", "OBSERVED", "ENFORCED", "CONTROLLED", "ASSURED")

# The cells of a gate strip, and the stage of the timeline that each of them shows.
GATES: Mapping[str, str] = {
    "plan": "plan_extraction",
    "identity": "identity",
    "capability": "capability",
    "policy": "policy",
    "mcp": "mcp",
    "budget": "budget",
    "approval": "approval",
    "outcome": "outcome",
}


_PREFIXES = (
    "OUTCOME_",
    "MODE_",
    "EFFECT_",
    "STAGE_",
    "SOURCE_KIND_",
    "TRUST_LEVEL_",
    "REVISION_STATE_",
    "APPROVAL_STATE_",
    "CHOICE_",
    "SIGNED_BY_",
    "MATURITY_PHASE_",
)


@functools.lru_cache(512)
def bare(name: str) -> str:
    """Return an enum name of the API without its type prefix: ``OUTCOME_DENY`` becomes ``DENY``."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def outcome_sign(outcome: str) -> Sign:
    """Return the sign of an outcome; anything unknown is an error, never an allow."""
    return _OUTCOMES.get(bare(outcome), ERROR)


def state_sign(state: str) -> Sign:
    """Return the sign of what became of a grant, with its word."""
    found = state.removeprefix("GRANT_STATE_")
    return replace(_STATES.get(found, ERROR), word=found.lower().replace("_", ", "))


def severity_sign(severity: str) -> Sign:
    """Return the sign of a severity, with its word."""
    return replace(_SEVERITIES.get(severity, ERROR), word=severity)


def requirement_sign(state: str) -> Sign:
    """Return the sign of what became of a requirement."""
    return _REQUIREMENTS.get(state, ERROR)


def effect_sign(effect: str) -> Sign:
    """Return the sign of a finding's effect."""
    return _EFFECTS.get(bare(effect).upper(), ERROR)


def approval_sign(state: str) -> Sign:
    """Return the sign of what became of a request for approval."""
    return _APPROVALS.get(bare(state), ERROR)


def choice_sign(choice: str) -> Sign:
    """Return the sign of a person's answer."""
    return _CHOICES.get(bare(choice), ERROR)


def phase_word(phase: str) -> str:
    """Return a phase of adoption with its number."""
    word = bare(phase)
    return f"{PHASES.index(word)} {word.lower()}" if word in PHASES else word.lower()


def met_sign(criterion: Mapping[str, object]) -> Sign:
    """Return the sign of a criterion of a phase."""
    if not criterion["applies"]:
        return replace(NOT_REACHED, word="does not apply")
    return replace(ALLOWED, word="met") if criterion["met"] else replace(BLOCKED, word="not met")


def check_sign(state: str) -> Sign:
    """Return the sign of a doctor's check."""
    return _CHECKS.get(state, ERROR)


def source_word(kind: str) -> str:
    """Return the word for a source kind."""
    return SOURCE_WORDS.get(bare(kind).lower(), bare(kind).lower())


def trust_word(level: str) -> str:
    """Return the word for a trust level; an unset level is no trust."""
    word = bare(level).lower()
    return word if word in TRUST_ORDER else "unverified"


def lowest_trust(levels: Sequence[str]) -> str:
    """Return the least trusted of ``levels``; nothing known is unverified."""
    return max((trust_word(level) for level in levels), key=TRUST_ORDER.index, default="unverified")


def gate_of(rule: str) -> str:
    """Return the gate whose cell shows a finding of ``rule``."""
    stage = stage_of(rule).value
    return next(gate for gate, shown in GATES.items() if shown == stage)


def short_revision(revision: str) -> str:
    """Return the short form of a commit id."""
    return revision[:8] if revision else "none"


def milliseconds(seconds: float) -> str:
    """Return a duration in milliseconds with a sensible number of digits."""
    value = seconds * 1000
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"  # noqa: PLR2004 - three digits read well


def dollars(micro_usd: int) -> str:
    """Return money as people read it; what is less than a cent is not told as nothing."""
    return f"${micro_usd / 1_000_000:,.2f}" if micro_usd >= 10_000 else f"${micro_usd / 1_000_000:.6f}".rstrip("0")  # noqa: PLR2004 - a cent


def percent(hundredths: int) -> str:
    """Return a share for people, never rounded up to what it is not."""
    return f"{hundredths // 100:,} %"


def taken(*, tokens: int, micro_usd: int, budget_share: int) -> str:
    """Return what a trace took, of what was counted; an empty text where nothing was."""
    parts = (
        counted(tokens, "token") if tokens else "",
        dollars(micro_usd) if micro_usd else "",
        f"fullest budget at {percent(budget_share)}" if budget_share else "",
    )
    return ", ".join(part for part in parts if part)


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return ``1 rule`` or ``3 rules``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
