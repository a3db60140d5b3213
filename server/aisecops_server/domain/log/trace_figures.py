"""What a decision adds to the figures of its trace: what it does, its steps, its gates, its charges, full budgets.

All of it is read from the decision's own event, when it is stored and when the log is verified, so that both agree.
Tokens and money are what the decision charged to budgets: what models took, and for an allowed plan what its calls are
expected to take. Where no limit counts them they are nothing, and so they are for a dry run, which charges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from aisecops_server.domain.budgets.budget import Metric
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.formats.canonical import SAFE_INTEGER, JsonValue
from aisecops_server.domain.log.trace_gates import gates_of

READ = "read"
# What a step's tool may do. One that is in no catalogue is taken to execute anything, as policy takes it.
EFFECTS = (READ, "write", "delete", "send", "spend", "execute")
UNKNOWN = "execute"
# Shares are hundredths of a percent. However far beyond a limit, more is not told.
WHOLE = 100 * 100
MOST_SHARE = 1_000_000 * 100


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one decision; ``budget_share`` is that of the fullest budget which it charges, with it.

    ``gates`` is one letter a gate.
    """

    effects: tuple[str, ...] = ()
    steps: int = 0
    tokens: int = 0
    micro_usd: int = 0
    budget_share: int = 0
    gates: str = ""


def effects_of(tools: Iterable[str], tables: Mapping[str, JsonValue]) -> list[JsonValue]:
    """Return what calls of ``tools`` do by the tables of a revision, each effect once, in the order of ``EFFECTS``."""
    entries = tables.get("tools")
    listed = entries if isinstance(entries, Mapping) else {}
    found = {_effect(listed.get(tool)) for tool in tools}
    return [effect for effect in EFFECTS if effect in found]


def figures_of(outcome: Mapping[str, Any], *, steps: int) -> Figures:
    """Return the figures of a decision of ``steps`` calls, from the details of its outcome event.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the details are not those of a decision.
    """
    # Earlier programs put less on record.
    charges = outcome.get("charges") or ()
    is_real = outcome["mode"] == Mode.ENFORCE.value
    is_granted = is_real and outcome["outcome"] == Outcome.ALLOW.value
    tokens, micro_usd = (
        _charged(charges, metric.value, is_granted=is_granted) if is_real else 0
        for metric in (Metric.TOKENS, Metric.MICRO_USD)
    )
    effects = tuple(sorted(set(outcome.get("effects") or ())))
    share = _share(charges, outcome.get("budgets") or ())
    return Figures(effects, steps, tokens, micro_usd, share, gates_of(outcome, steps=steps))


def together(first: int, second: int) -> int:
    """Return the sum of two figures, as far as JSON holds it exactly."""
    return min(first + second, SAFE_INTEGER)


def _effect(entry: object) -> str:
    effect = entry.get("effect") if isinstance(entry, Mapping) else None
    return effect if isinstance(effect, str) and effect in EFFECTS else UNKNOWN


def _charged(charges: Sequence[Mapping[str, Any]], metric: str, *, is_granted: bool) -> int:
    """Return what a decision takes of a metric. Several limits count the same use, so of each part the most counts."""
    counted = [charge for charge in charges if charge["metric"] == metric]
    spent = max((charge["spent"] for charge in counted), default=0)
    expected: dict[str, int] = {}
    for charge in counted if is_granted else ():
        for step, amount in charge["steps"].items():
            expected[step] = max(amount, expected.get(step, 0))
    return min(spent + sum(expected.values()), SAFE_INTEGER)


def _share(charges: Sequence[Mapping[str, Any]], budgets: Sequence[Mapping[str, Any]]) -> int:
    return max((_full(charge, budget) for charge, budget in zip_longest(charges, budgets) if charge), default=0)


def _full(charge: Mapping[str, Any], budget: Mapping[str, Any] | None) -> int:
    after = charge["amount"] + (budget["used"] + budget["reserved"] if budget else 0)
    if after <= 0:
        return 0
    return min(after * WHOLE // charge["limit"], MOST_SHARE) if charge["limit"] > 0 else MOST_SHARE
