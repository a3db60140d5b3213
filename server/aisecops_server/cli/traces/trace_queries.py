"""``aisecops trace list|facets|show|tail``: reading the record through the API."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode, of_outcome
from aisecops_server.cli.invocation import command, current
from aisecops_server.cli.output import console, say, show, show_lines, show_list, when
from aisecops_server.cli.traces.narrowing import filter_of, is_narrowed, narrowing

if TYPE_CHECKING:
    from aisecops_client.client import Client
    from rich.console import Console

_FACETS = ("outcome", "trust", "mode", "agent", "tool", "rule", "revision", "effect")
_NO_TRACES = "no traces yet; 'aisecops decide -f plan.json --agent ID' makes one"


@command(
    "list",
    examples="""
    aisecops trace list                                    the newest 50
    aisecops trace list --outcome blocked --agent spiffe://acme.example/agent/support
    aisecops trace list --rule provenance.untrusted_target --trust external
    aisecops trace list --where 'outcome:blocked -tool:email/send'    as in the UI; '-' leaves out
    aisecops trace list --where 'tool:crm/* trust:<internal plans:>3'
    aisecops trace list --where 'effect:changing cost:>0.5 budget:>80%'
    aisecops trace list -o ndjson | jq -r .traceId
    """,
)
@narrowing
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Traces on a page.")
@click.option("--page", default="", help="The nextPageToken of the page before.")
def list_traces(**asked: Any) -> ExitCode:
    """List traces, newest first."""
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        page = to_json(client.traces(filter_of(asked), page_size=asked["limit"], page_token=asked["page"]))
    empty = "no trace matches; drop a filter" if is_narrowed(asked) else _NO_TRACES
    show_list(page, items="traces", draw=lambda target: _draw_list(target, page), empty=empty)
    if page["nextPageToken"]:
        say(f"more: --page {page['nextPageToken']}")
    return ExitCode.OK


@command(
    "facets",
    examples="""
    aisecops trace facets                                      how many traces have which value
    aisecops trace facets --field rule --field tool --where 'outcome:blocked trust:<internal'
    aisecops trace facets --where 'lasted:>1h' -o json | jq .counted
    """,
)
@narrowing
@click.option("--field", "fields", multiple=True, type=click.Choice(_FACETS), help="Only these; may be repeated.")
def list_facets(**asked: Any) -> ExitCode:
    """Count traces by their values: what there is to narrow by, and how many it leaves.

    A field that is asked for is counted as if it were not, so what else it could be is told too. The newest 5,000
    traces that match are counted; a + says that there are more.
    """
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    fields = ["agent_id" if field == "agent" else field for field in asked["fields"]]
    with connect() as client:
        found = to_json(client.trace_facets(filter_of(asked), fields=fields))
    empty = "no trace matches; drop a filter" if is_narrowed(asked) else _NO_TRACES
    if current().machine or any(facet["values"] for facet in found["facets"]):
        show_list(found, items="facets", draw=lambda target: _draw_facets(target, found), empty=empty)
    else:
        say(empty)
    return ExitCode.OK


def _draw_facets(target: Console, found: Mapping[str, Any]) -> None:
    from aisecops_server.terminal.lists import facet_table  # noqa: PLC0415

    target.print(facet_table(found))


def _draw_list(target: Console, page: Mapping[str, Any]) -> None:
    from aisecops_server.terminal.lists import trace_table  # noqa: PLC0415

    target.print(trace_table(target, page["traces"], when))


@command(
    "show",
    examples="""
    aisecops trace show 4bf92f3577b34da6a3ce929d0e0e4736
    aisecops trace show 4bf92f3577b34da6a3ce929d0e0e4736 -o json | jq .decisions[].findings[].rule
    """,
)
@click.argument("trace", help="A trace's whole id, as 'trace list' prints it.")
def show_trace(*, trace: str) -> ExitCode:
    """Show every gate that a trace's plans passed.

    Each step has a strip of gates; sources stand with the trust that policy settled, rules with their file and
    line. The exit code is the trace's outcome: 0 allowed, 3 blocked, 4 escalated.
    """
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    if trace.startswith("dec-"):
        raise click.UsageError(f"{trace} is a decision; 'aisecops explain {trace}' says why it came out as it did")
    with connect() as client:
        found = to_json(client.trace(trace))
        places = {} if current().machine else _rule_places(client, found["decisions"])
    show(found, lambda target: _draw_trace(target, found, places))
    return of_outcome(str(found["summary"]["outcome"]))


def _rule_places(client: Client, decisions: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Return where each rule of the deciding revisions stands, as far as that can still be told."""
    from aisecops_client.errors import AisecopsClientError  # noqa: PLC0415

    places: dict[tuple[str, str], str] = {}
    for revision in {str(decision["bundleRevision"]) for decision in decisions}:
        # An old revision may be gone, or this credential may not read it; the trace is shown all the same.
        with suppress(AisecopsClientError):
            places |= {(revision, rule.rule): f"{rule.file}:{rule.line}" for rule in client.revision(revision).rules}
    return places


def _draw_trace(target: Console, found: Mapping[str, Any], places: Mapping[tuple[str, str], str]) -> None:
    from aisecops_server.terminal.traces import trace_block  # noqa: PLC0415

    target.print(trace_block(target, found, when, places))


@command(
    "tail",
    examples="""
    aisecops trace tail                    until Ctrl-C
    aisecops trace tail --all --once       everything recorded so far, then stop
    aisecops trace tail -o ndjson | jq -c .decision.outcome
    """,
)
@click.option("--all", "everything", is_flag=True, help="Start with the first decision rather than with new ones.")
@click.option("--once", is_flag=True, help="Stop at the end of the log instead of waiting for more.")
@click.option("--trace", default="", help="Only this trace.")
def tail_traces(*, everything: bool, once: bool, trace: str) -> ExitCode:
    """Follow decisions as they are recorded."""
    from aisecops_server.cli.log.events import first_index, stream  # noqa: PLC0415

    events = stream(first_index(everything=everything or once), follow=not once, trace=trace)
    decisions = (decision for event in events if (decision := concluded(event)))
    if current().machine:
        show_lines(decisions)
        return ExitCode.OK
    from aisecops_server.terminal.lists import tail_line  # noqa: PLC0415

    target = console()
    for decision in decisions:
        target.print(tail_line(target, decision, when), soft_wrap=True)
    return ExitCode.OK


def concluded(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the recorded decision that an event concludes, if it does."""
    if event.get("type") not in {"decision.concluded", "decision.refused", "plan.rejected"}:
        return None
    from aisecops_server.domain.events.event import details_in  # noqa: PLC0415

    body, payload = (base64.b64decode(event.get(name, "")) for name in ("bodyJson", "payload"))
    return {
        "decisionId": event["decisionId"],
        "traceId": event["traceId"],
        "type": event["type"],
        "logIndex": event["logIndex"],
        "occurredAt": event["occurredAt"],
        "decision": details_in(event["type"], body, payload),
    }
