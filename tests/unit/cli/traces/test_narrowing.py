"""The options and the query by which commands choose traces."""

from __future__ import annotations

from typing import Any

import click
import pytest
from aisecops.v1.audit_service_pb2 import TraceFilter, TraceTerm
from aisecops.v1.replay_pb2 import ReplaySelection
from aisecops_server.cli.traces.narrowing import filter_of, is_narrowed, narrowing, selection_of
from aisecops_server.domain.errors import InvalidRequestError


def asked(*line: str) -> dict[str, Any]:
    """Return what a command is given for its options."""

    @click.command
    @narrowing
    def command(**given: Any) -> dict[str, Any]:
        return given

    found: dict[str, Any] = command.main(line, standalone_mode=False)
    return found


def test_a_query_of_the_pages_is_one_of_commands() -> None:
    found = filter_of(asked("--where", "outcome:blocked -tool:email/send -agent:a/b"))
    without = [TraceTerm(field="tool", value="email/send"), TraceTerm(field="agent_id", value="a/b")]
    assert found == TraceFilter(outcome="DENY", without=without)


def test_options_stand_beside_the_query_for_other_fields() -> None:
    found = filter_of(asked("--where", "-tool:a/b", "--outcome", "blocked", "--tool", "c/d"))
    assert found == TraceFilter(outcome="DENY", tool="c/d", without=[TraceTerm(field="tool", value="a/b")])
    with pytest.raises(click.UsageError, match="--outcome stands in --where too"):
        filter_of(asked("--where", "outcome:blocked", "--outcome", "allowed"))
    with pytest.raises(click.UsageError, match="--from stands in --where too"):
        filter_of(asked("--where", "from:2026-01-01", "--from", "2026-01-02"))


def test_the_same_moment_is_meant_by_the_query_and_by_the_option() -> None:
    assert filter_of(asked("--where", "from:2026-01-31")) == filter_of(asked("--from", "2026-01-31"))


def test_a_word_that_is_no_term_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="'outcom:blocked' is no field"):
        filter_of(asked("--where", "outcom:blocked"))


def test_what_asks_for_more_than_a_word_travels_as_it_is_written() -> None:
    found = filter_of(asked("--where", "tool:crm/* outcome:blocked plans:>3 -trust:<internal -rule:a.b"))
    without = [TraceTerm(field="rule", value="a.b")]
    assert found == TraceFilter(outcome="DENY", query="tool:crm/* plans:>3 -trust:<internal", without=without)
    with pytest.raises(click.UsageError, match="--tool stands in --where too"):
        filter_of(asked("--where", "tool:crm/*", "--tool", "a/b"))


def test_a_replay_is_chosen_by_the_same_words() -> None:
    found = selection_of(asked("--where", "tool:crm/* outcome:blocked -rule:a.b", "--mode", "enforce"), traces=["t"])
    assert found == ReplaySelection(outcome="DENY", mode="ENFORCE", query="tool:crm/* -rule:a.b", trace_ids=["t"])
    assert selection_of(asked("--from", "2026-01-31"), traces=()) == selection_of(
        asked("--where", "from:2026-01-31"), traces=()
    )


def test_a_query_alone_narrows() -> None:
    assert is_narrowed(asked("--where", "-tool:a/b"))
    assert not is_narrowed(asked())
    assert not is_narrowed(asked("--where", " \t"))
