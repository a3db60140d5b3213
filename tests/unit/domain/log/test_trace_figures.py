"""What a decision adds to the figures of its trace."""

from __future__ import annotations

import pytest
from aisecops_server.domain.log.trace_figures import MOST_SHARE, Figures, effects_of, figures_of, together

OUTCOME = {"mode": "ENFORCE", "outcome": "ALLOW"}


def charge(metric: str, *, spent: int = 0, steps: dict[str, int] | None = None, limit: int = 100) -> dict[str, object]:
    taken = steps or {}
    return {"metric": metric, "spent": spent, "steps": taken, "amount": spent + sum(taken.values()), "limit": limit}


def test_limits_that_count_the_same_use_count_it_once() -> None:
    charges = [
        charge("micro_usd", spent=5, steps={"s1": 10, "s2": 20}),
        charge("micro_usd", spent=5, steps={"s1": 10, "s2": 20}),
        # That of a tool: a part of the same.
        charge("micro_usd", steps={"s2": 20}),
        charge("tokens", spent=700),
        charge("calls", steps={"s1": 1, "s2": 1}),
    ]
    found = figures_of({**OUTCOME, "charges": charges}, steps=2)
    assert (found.steps, found.tokens, found.micro_usd) == (2, 700, 35)


@pytest.mark.parametrize(
    ("change", "tokens", "micro_usd"),
    [
        # What is not granted is not called, and what models took was taken all the same.
        ({"outcome": "DENY"}, 700, 5),
        ({"outcome": "REQUIRE_APPROVAL"}, 700, 5),
        ({"mode": "DRY_RUN"}, 0, 0),
    ],
)
def test_only_what_is_charged_counts(change: dict[str, str], tokens: int, micro_usd: int) -> None:
    charges = [charge("micro_usd", spent=5, steps={"s1": 10}), charge("tokens", spent=700)]
    found = figures_of({**OUTCOME, **change, "charges": charges}, steps=1)
    assert (found.tokens, found.micro_usd) == (tokens, micro_usd)


@pytest.mark.parametrize(
    ("used", "amount", "limit", "share"),
    [
        (0, 0, 100, 0),
        (79, 1, 100, 8000),
        (80, 1, 101, 8019),
        (150, 50, 100, 20_000),
        (0, 1, 0, MOST_SHARE),
        (0, 0, 0, 0),
        (2**53 - 1, 1, 1, MOST_SHARE),
    ],
)
def test_a_share_is_of_the_fullest_budget_with_what_was_asked(used: int, amount: int, limit: int, share: int) -> None:
    charges = [charge("calls", spent=0, limit=50), charge("calls", spent=amount, limit=limit)]
    budgets = [{"used": 0, "reserved": 0}, {"used": used, "reserved": 0}]
    for outcome in ("ALLOW", "DENY"):
        details = {**OUTCOME, "outcome": outcome, "charges": charges, "budgets": budgets}
        assert figures_of(details, steps=1).budget_share == share


def test_a_decision_of_a_program_that_told_of_none_of_it_has_only_steps() -> None:
    assert figures_of(OUTCOME, steps=3) == Figures(steps=3, gates="aaaaaana")


def test_a_tool_that_is_in_no_catalogue_is_taken_for_the_worst() -> None:
    tables = {"tools": {"kb/read": {"effect": "read"}, "mail/send": {"effect": "send"}, "odd/one": {"effect": "fly"}}}
    assert effects_of(["mail/send", "kb/read", "mail/send"], tables) == ["read", "send"]
    assert effects_of(["kb/read", "un/known"], tables) == ["read", "execute"]
    assert effects_of(["odd/one"], tables) == effects_of(["kb/read"], {}) == ["execute"]
    assert effects_of([], tables) == []


def test_no_sum_grows_beyond_what_json_holds() -> None:
    assert together(2**53 - 2, 5) == 2**53 - 1
