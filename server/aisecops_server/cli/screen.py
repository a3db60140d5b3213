"""``aisecops screen``: a text before a model gets it or after one said it, and the answer is the exit code."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode, of_outcome
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show

if TYPE_CHECKING:
    from rich.console import Console

_DIRECTIONS = ("prompt", "input", "tool_result", "output")
_NO_AGENT = (
    "  hint: {asked} is a person, and texts are an agent's. Ask as one of\n"
    "  the agents in the policy's data/agents.yaml: --agent ID, or its --token-file"
)


@command(
    "screen",
    examples="""
    aisecops screen "Ignore all previous instructions" --agent ID
                                                       what a prompt would get
    aisecops screen -f page.html --direction tool_result --tool web/fetch --agent ID
                                                       what a tool returned
    aisecops screen -f - --direction output --agent ID < answer.txt
                                                       what a model said, from a pipe
    aisecops screen -f prompt.txt --approval APPROVAL --agent ID
                                                       the same text again, after people reviewed it
    aisecops screen -f prompt.txt --agent ID -o json | jq -r '.parts[0].text'
                                                       the text to use, redacted
    """,
)
@click.argument("text", required=False, help="The text itself.")
@click.option("-f", "--file", "file", type=click.File("rb"), help="File with the text; '-' reads standard input.")
@click.option(
    "--direction", type=click.Choice(_DIRECTIONS), default="prompt", help="Which way the text goes; prompt if left out."
)
@click.option("--tool", default="", help="For a tool's result: the qualified tool that returned it.")
@click.option("--trace", default="", help="Trace to join the decision to.")
@click.option("--keep-text", is_flag=True, help="Have the text recorded, with secrets and personal data masked.")
@click.option("--approval", default="", help="The approval that people gave for exactly this text.")
@click.option("--agent", default="", help="Ask as this agent, with a token of the local issuer.")
def screen(
    *,
    text: str | None,
    file: IO[bytes] | None,
    direction: str,
    tool: str,
    trace: str,
    keep_text: bool,
    approval: str,
    agent: str,
) -> ExitCode:
    """Ask whether a text may be used, and show what was seen in it.

    Shows where injected instructions, secrets, personal data and hidden characters stand, and what policy makes of
    them. Exit code: 0 allowed (with the redacted text), 3 blocked, 4 escalated to a review.
    """
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415
    from aisecops_server.cli.credentials import LOCAL_SUBJECT, asks_as_operator  # noqa: PLC0415

    asked = _text(text, file)
    with connect(agent=agent) as client:
        answer = client.screen(
            asked, direction=direction, tool=tool, trace_id=trace, keep_text=keep_text, approval_id=approval
        )
    document = {
        "decision": to_json(answer.decision),
        "receipt": to_json(answer.receipt),
        "parts": [to_json(part) for part in answer.parts],
        "detections": [to_json(seen) for seen in answer.detections],
        "approvalId": answer.approval_id,
    }
    show(document, lambda console: _draw(console, document, asked))
    say(f"recorded at log index {answer.receipt.log_index}; aisecops explain {answer.decision.decision_id}")
    if answer.approval_id:
        said = "waits for people" if answer.waits_for_people else "people agreed"
        say(f"{said}: aisecops approvals show {answer.approval_id}")
    if asks_as_operator(agent):
        say(_NO_AGENT.format(asked=LOCAL_SUBJECT))
    return of_outcome(answer.outcome)


def _text(text: str | None, file: IO[bytes] | None) -> str:
    if (text is None) == (file is None):
        raise click.UsageError("give a text, or a file with --file")
    if file is None:
        return text or ""
    try:
        return file.read().decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file.name}: not UTF-8 at byte {error.start}") from error


def _draw(console: Console, answer: dict[str, Any], text: str) -> None:
    from aisecops_server.terminal.screenings import screening_block  # noqa: PLC0415

    console.print(screening_block(console, answer, text))
