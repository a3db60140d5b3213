"""``aisecops explain``: the questions an investigator asks of one decision, answered."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import show
from aisecops_server.domain.errors import NotFoundError

if TYPE_CHECKING:
    from rich.console import Console


@command(
    "explain",
    examples="""
    aisecops explain DECISION            who started it, what influenced it, which rule decided
    aisecops explain DECISION --full     with the engine's own evaluation trace
    aisecops explain DECISION --document > input.json
                                         the input document, byte for byte as policy saw it
    aisecops explain DECISION -o json | jq .replay.reproduced
    """,
)
@click.argument("decision", help="The whole id, as 'decide' and 'trace show' print it.")
@click.option("--full", is_flag=True, help="Add the engine's own trace, recomputed at the recorded revision.")
@click.option("--document", is_flag=True, help="Print only the stored input document.")
def explain(*, decision: str, full: bool, document: bool) -> ExitCode:
    """Say why a decision came out as it did.

    Everything is recomputed from the stored document at the recorded policy revision, and it is said whether
    that gave the same decision again. Exit code 9 when it did not.
    """
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    if not decision.startswith("dec-"):
        raise click.UsageError(
            f"{decision} is no decision; they begin with 'dec-', and 'aisecops trace show TRACE' names those of a trace"
        )
    with connect() as client:
        answer = client.explain(decision, full=full)
    if document and not answer.document_json:
        raise NotFoundError(f"the document of {decision} is not there: {answer.replay.reason}", id=decision)
    if document:
        sys.stdout.buffer.write(answer.document_json)
        return ExitCode.OK
    explained = to_json(answer)
    show(explained, lambda console: _draw(console, explained, answer.document_json))
    return ExitCode.OK if answer.replay.reproduced else ExitCode.UNVERIFIED


def _draw(console: Console, explained: dict[str, Any], document: bytes) -> None:
    from aisecops_server.terminal.explanations import explanation_block  # noqa: PLC0415

    console.print(explanation_block(console, explained, document))
