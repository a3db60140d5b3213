"""``aisecops decide``: one plan, one answer, and the answer is the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode, of_outcome
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.domain.errors import InvalidPlanError

if TYPE_CHECKING:
    from aisecops.v1 import plan_pb2
    from aisecops_client.answers import Answer
    from aisecops_client.client import Client
    from rich.console import Console

_NO_AGENT = (
    "  hint: {asked} is a person, and a plan is an agent's. Ask as one of\n"
    "  the agents in the policy's data/agents.yaml: --agent ID, or its --token-file"
)
_FORMATS = ("openai", "anthropic", "mcp")


@command(
    "decide",
    examples="""
    aisecops decide -f plan.json --token-file agent.token
                                                       ask as the agent that the token proves
    aisecops decide -f plan.json --agent spiffe://corp.example/agent/support-assistant
                                                       the same on a laptop, with a token made here
    aisecops decide -f plan.json --agent ID --dry-run  what would be decided; grants nothing
    aisecops decide -f plan.json --agent ID --explain  with the facts that each rule read
    aisecops decide -f plan.json --agent ID --wait     and wait for people where policy wants them
    aisecops decide -f - --agent ID < plan.json        from a pipe
    aisecops decide --message call.json --format openai --tool-server mail
                                                       the tool calls of a model's own message
    aisecops decide -f plan.json --agent ID -o json | jq .decision.outcome
    """,
)
@click.option("-f", "--file", "file", type=click.File("rb"), help="Plan as JSON; '-' reads standard input.")
@click.option("--message", type=click.File("rb"), help="A model's message to take the steps from.")
@click.option("--format", "message_format", type=click.Choice(_FORMATS), help="The shape of --message.")
@click.option("--tool-server", default="", help="Qualifies tool names that --message leaves bare.")
@click.option("--dry-run", is_flag=True, help="Decide and record, but grant nothing.")
@click.option("--revision", default="", help="With --dry-run: the policy commit to ask instead of the live one.")
@click.option("--agent", default="", help="Ask as this agent, with a token of the local issuer.")
@click.option("--explain", "explained", is_flag=True, help="Show also what each rule read and who was trusted.")
@click.option("--key", default="", help="Idempotency key: a retry returns the stored decision.")
@click.option("--approval", default="", help="The approval that people gave for exactly this plan.")
@click.option(
    "--receipt",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the signed receipt in this file; 'log prove --receipt' holds the log to it.",
)
@click.option("--wait", is_flag=True, help="If people must agree, wait until they did and decide again.")
def decide(
    *,
    file: IO[bytes] | None,
    message: IO[bytes] | None,
    message_format: str | None,
    tool_server: str,
    dry_run: bool,
    revision: str,
    agent: str,
    explained: bool,
    key: str,
    approval: str,
    receipt: Path | None,
    wait: bool,
) -> ExitCode:
    """Ask whether a plan may run.

    The plan is a JSON object with the fields of ExecutionPlan: steps (step_id, tool, capability, arguments) and
    sources (source_id, kind, name, content or digest). Who asks is what the credential proves, never the plan;
    with neither --agent nor --token-file that is this machine's operator, whom no policy lets act.
    Exit code: 0 allowed, 3 blocked, 4 escalated.
    """
    if file is None and message is None:
        raise click.UsageError("give a plan with --file or a model's message with --message")
    if message is not None and message_format is None:
        raise click.UsageError("--message needs --format: the control plane does not guess")
    if dry_run and (approval or wait):
        raise click.UsageError("--approval and --wait are for deciding in earnest; a dry run grants nothing")
    if revision and not dry_run:
        raise click.UsageError("--revision is for --dry-run: only the live revision decides for real")
    from aisecops_client.messages import tool_call_message  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415
    from aisecops_server.cli.credentials import LOCAL_SUBJECT, asks_as_operator  # noqa: PLC0415

    plan = _plan(file)
    call = None
    if message is not None and message_format is not None:
        call = tool_call_message(message_format, message.read(), server=tool_server)
    with connect(agent=agent) as client:
        if dry_run:
            answer = client.dry_run(plan, message=call, revision=revision)
        else:
            answer = client.decide(plan, message=call, idempotency_key=key, approval_id=approval)
        if wait and answer.waits_for_people:
            answer = _after_people(client, plan, call, answer)
    if receipt is not None:
        answer.keep_receipt(receipt)
    document = {
        "decision": to_json(answer.decision),
        "receipt": to_json(answer.receipt),
        "approvalId": answer.approval_id,
    }
    _print(document, {step.step_id: step.tool for step in plan.steps}, explained=explained)
    if asks_as_operator(agent):
        say(_NO_AGENT.format(asked=LOCAL_SUBJECT))
    return of_outcome(answer.outcome)


def _after_people(
    client: Client, plan: plan_pb2.ExecutionPlan, call: plan_pb2.ToolCallMessage | None, answer: Answer
) -> Answer:
    from aisecops_client.approvals import GRANTED, in_trace  # noqa: PLC0415

    say(f"waits for people: aisecops approvals show {answer.approval_id}")
    if client.wait_for_approval(answer).state != GRANTED:
        return answer
    return client.decide(in_trace(plan, answer), message=call, approval_id=answer.approval_id)


def _plan(file: IO[bytes] | None) -> plan_pb2.ExecutionPlan:
    from aisecops.v1 import plan_pb2  # noqa: PLC0415
    from aisecops_client.plan_file import PlanFileError, parse_plan  # noqa: PLC0415

    if file is None:
        return plan_pb2.ExecutionPlan()
    try:
        return parse_plan(file.read())
    except PlanFileError as error:
        hint = "Correct it; 'aisecops decide --help' says what a plan holds"
        raise InvalidPlanError(f"{file.name}: {error}", hint=hint, field=error.field) from error


def _print(answer: dict[str, Any], tools: dict[str, str], *, explained: bool) -> None:
    from aisecops_server.terminal.decisions import decision_block, facts_block  # noqa: PLC0415

    decision = answer["decision"]

    def draw(console: Console) -> None:
        console.print(decision_block(console, decision, tools=tools))
        if explained:
            console.print("what the rules read", style="dim")
            console.print(facts_block(decision))

    show(answer, draw)
    receipt = answer["receipt"]
    retry = ", a retry of a stored decision" if receipt.get("replayed") else ""
    say(f"recorded at log index {receipt['logIndex']}{retry}; aisecops explain {decision['decisionId']}")
    if answer["approvalId"]:
        waits = decision["outcome"] == "OUTCOME_REQUIRE_APPROVAL"
        say(f"{'waits for people' if waits else 'people agreed'}: aisecops approvals show {answer['approvalId']}")
