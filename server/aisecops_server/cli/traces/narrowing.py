"""The options that narrow a set of traces, the same wherever traces are chosen, and the query language of the pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from aisecops.v1.audit_service_pb2 import TraceFilter
    from aisecops.v1.replay_pb2 import ReplaySelection

    from aisecops_server.domain.traces.trace_query import TraceQuery

OUTCOMES = {"allowed": "ALLOW", "blocked": "DENY", "escalated": "REQUIRE_APPROVAL"}
MODES = {"enforce": "ENFORCE", "dry-run": "DRY_RUN"}
_TRUST = ("trusted", "internal", "external", "unverified")
_NAMES = ("where", "agent", "outcome", "tool", "rule", "trust", "revision", "mode", "since", "until")
# What a term of a query calls what an option asks for.
_FIELDS = {"since": "from", "until": "to"}
WHERE = "A query as the UI takes it, such as 'outcome:blocked trust:<internal -tool:kb/*'."

_OPTIONS = (
    click.option("--where", metavar="QUERY", default="", help=WHERE),
    click.option("--agent", default="", help="Agent that proposed."),
    click.option("--outcome", type=click.Choice(list(OUTCOMES)), help="Most restrictive outcome in the trace."),
    click.option("--tool", default="", help="A tool that the trace names."),
    click.option("--rule", default="", help="A rule that fired."),
    click.option("--trust", type=click.Choice(_TRUST), help="Lowest trust."),
    click.option("--revision", default="", help="Policy commit that decided."),
    click.option("--mode", type=click.Choice(list(MODES)), help="Decided for real or as a dry run."),
    click.option("--from", "since", type=click.DateTime(), help="Not before (UTC)."),
    click.option("--to", "until", type=click.DateTime(), help="Before (UTC)."),
)


def narrowing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options; they arrive under the names that ``filter_of`` and ``is_narrowed`` read."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def is_narrowed(asked: Mapping[str, Any]) -> bool:
    """Return whether any of the options was given; a query of blanks asks for nothing."""
    return bool(asked["where"].strip()) or any(asked[name] for name in _NAMES[1:])


def filter_of(asked: Mapping[str, Any]) -> TraceFilter:
    """Return the API's filter of the options and of the query.

    Raises:
        UsageError: both ask for the same field.
        InvalidRequestError: the query cannot be read.
    """
    from aisecops_server.entrypoints import trace_terms  # noqa: PLC0415

    narrow = trace_terms.filter_of(_query(asked))
    narrow.MergeFrom(_of_options(asked))
    return narrow


def selection_of(asked: Mapping[str, Any], *, traces: Sequence[str]) -> ReplaySelection:
    """Return what a replay chooses by the options and the query, of those ``traces`` alone if any are named.

    Raises:
        UsageError: both ask for the same field.
        InvalidRequestError: the query cannot be read.
    """
    from aisecops_server.entrypoints import trace_terms  # noqa: PLC0415

    return trace_terms.selection_of(_query(asked), options=_of_options(asked), traces=traces)


def _query(asked: Mapping[str, Any]) -> TraceQuery:
    from aisecops_server.domain.traces.trace_query import read_query  # noqa: PLC0415

    query = read_query(asked["where"], place="--where")
    given = {_FIELDS.get(name, name): asked[name] for name in _NAMES[1:] if asked[name]}
    if twice := sorted(field for field in given if query.asks(field)):
        raise click.UsageError(f"--{twice[0]} stands in --where too; ask for it once")
    return query


def _of_options(asked: Mapping[str, Any]) -> TraceFilter:
    from aisecops.v1 import audit_service_pb2  # noqa: PLC0415

    narrow = audit_service_pb2.TraceFilter(
        agent_id=asked["agent"],
        tool=asked["tool"],
        rule=asked["rule"],
        revision=asked["revision"],
        trust=asked["trust"] or "",
        outcome=OUTCOMES.get(asked["outcome"] or "", ""),
        mode=MODES.get(asked["mode"] or "", ""),
    )
    # `from` is a word of Python, so the field is reached by name.
    for stamp, moment in ((getattr(narrow, "from"), asked["since"]), (narrow.to, asked["until"])):
        if moment is not None:
            stamp.FromDatetime(moment)
    return narrow
