"""Where ``aisecops`` starts: the tree's root, and the only place that ends the process.

Owns the exit code and the shape of errors. Ordering: the arguments are parsed, the command runs, and only
here is a failure turned into words and a number; commands raise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from aisecops_server.cli.exit_codes import MEANINGS, ExitCode
from aisecops_server.cli.invocation import Invocation, write_examples
from aisecops_server.cli.tree import Entry, LazyGroup

_HERE = "aisecops_server.cli"

ENTRIES = {
    "demo": Entry(f"{_HERE}.demo:demo", "See it decide: agents' plans, a policy change, what flipped."),
    "serve": Entry(f"{_HERE}.running.serve:serve", "Run the control plane."),
    "health": Entry(f"{_HERE}.running.health:health", "Say whether a plan would get a decision now."),
    "top": Entry(f"{_HERE}.running.top:top", "See how it goes just now, live."),
    "doctor": Entry(f"{_HERE}.running.doctor:doctor", "Say what is missing on this machine and how to mend it."),
    "decide": Entry(f"{_HERE}.decide:decide", "Ask whether a plan may run."),
    "screen": Entry(
        f"{_HERE}.screen:screen", "Ask whether a text may go to a model, or may be used that came from one."
    ),
    "explain": Entry(f"{_HERE}.explain:explain", "Say why a decision came out as it did."),
    "trace": Entry(f"{_HERE}.traces.trace:trace", "Look at what agents proposed and what was decided."),
    "approvals": Entry(f"{_HERE}.approvals.approvals:approvals", "See what waits for people, and answer it."),
    "bundle": Entry(f"{_HERE}.bundles.bundle:bundle", "See and change which policy revision is live."),
    "rollout": Entry(f"{_HERE}.bundles.rollout:rollout", "Bring a revision to agents step by step: watch, some, all."),
    "policy": Entry(f"{_HERE}.policy.policy:policy", "Write policy, and know before a merge what it will do."),
    "grant": Entry(
        f"{_HERE}.grants.grant:grant", "See execution grants, take them back, get the keys that verify them."
    ),
    "incident": Entry(f"{_HERE}.agents.incident:incident", "See calls that ran otherwise than it was decided."),
    "agent": Entry(f"{_HERE}.agents.agent:agent", "See which agents there are and what they asked."),
    "metrics": Entry(f"{_HERE}.running.metrics:metrics", "See the nine figures of governance, counted just now."),
    "maturity": Entry(f"{_HERE}.agents.maturity:maturity", "See how far adoption is, and what to do next."),
    "budget": Entry(f"{_HERE}.budgets.budget:budget", "See how much of which limit was used, and correct the books."),
    "replay": Entry(f"{_HERE}.replays.replay:replay", "Decide history again on another policy, and see what flips."),
    "log": Entry(f"{_HERE}.log.log:log", "Read and verify the audit log."),
    "backup": Entry(f"{_HERE}.log.backup:backup", "Keep the record safe: back it up while it grows, and restore it."),
    "db": Entry(f"{_HERE}.log.db:db", "A log that several control planes share, in PostgreSQL."),
    "edge": Entry(f"{_HERE}.edges.edge:edge", "See edges, which decide beside agents by policy from here."),
    "evidence": Entry(f"{_HERE}.evidence.evidence:evidence", "Make and verify packages that prove what was decided."),
    "drift": Entry(f"{_HERE}.replays.drift:drift", "See whether recent decisions still come out."),
    "compliance": Entry(
        f"{_HERE}.evidence.compliance:compliance",
        "See which requirements of which frameworks hold, by scenarios decided now.",
    ),
    "witness": Entry(
        f"{_HERE}.log.witness:witness", "Run a witness, which signs only what extends what it signed before."
    ),
    "ui": Entry(f"{_HERE}.running.ui:ui", "Open the UI: make a link that signs you in."),
    "mcp": Entry(f"{_HERE}.mcp.mcp:mcp", "Govern the tool servers of any MCP client."),
    "guard": Entry(f"{_HERE}.mcp.mcp_commands:guard", "Run an MCP server so that every call of it is decided first."),
    "hook": Entry(f"{_HERE}.mcp.hook:hook", "Answer a coding agent that is about to use a tool, by the exit code."),
    "airgap": Entry(f"{_HERE}.edges.airgap:airgap", "Carry the product to where there is no network."),
    "engine": Entry(f"{_HERE}.bundles.engine:engine", "Get and check the policy engine (OPA)."),
    "dev": Entry(f"{_HERE}.dev.dev:dev", "Make what a laptop needs: a policy, tokens, certificates."),
    "config": Entry(f"{_HERE}.config:config", "Show the settings and where each comes from."),
    "completion": Entry(f"{_HERE}.completion:completion", "Print shell completion for bash, zsh or fish."),
    "version": Entry(f"{_HERE}.version:version", "Print the versions of the parts."),
}

_HELP = """Decide whether AI agents may act, and keep the proof.

An agent sends its execution plan; the control plane answers allowed, blocked or escalated, with the rules
that said so and the Git revision of the policy that decided.
"""

_EXAMPLES = """
aisecops demo                            see the whole story in a minute
aisecops dev policy ./policy             make a policy repository to start
aisecops serve --repository ./policy     run the control plane on it
aisecops decide -f plan.json --agent ID  ask; the exit code is the answer
aisecops trace show TRACE                see every gate that a plan passed
"""


class _Root(LazyGroup):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS.items()])
        write_examples(formatter, self.examples)


cli = _Root(name="aisecops", help=_HELP, entries=ENTRIES, examples=_EXAMPLES, no_args_is_help=True)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    if os.environ.get("_AISECOPS_COMPLETE"):
        return _complete(os.environ["_AISECOPS_COMPLETE"])
    try:
        context = cli.make_context("aisecops", list(arguments), obj=Invocation())
    except Exception as error:  # noqa: BLE001 - see _ended
        return _ended(error, arguments)
    with context:
        try:
            return int(cli.invoke(context) or ExitCode.OK)
        # Inside the context, so that what is told about a failure can name what was asked for.
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - see _ended
            return _ended(error, arguments)


def _ended(error: BaseException, arguments: Sequence[str]) -> int:
    """Return the exit code of a run that ended by an exception: the one place where a failure becomes words."""
    match error:
        case click.exceptions.Exit():
            return int(error.exit_code)
        case KeyboardInterrupt() | click.Abort():
            click.echo("interrupted", err=True)
            return int(ExitCode.INTERRUPTED)
        case BrokenPipeError():
            # The reader went away; there is nobody left to tell, and nothing may be flushed at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return int(ExitCode.FAILURE)
        case Exception():
            from aisecops_server.cli.failures import report  # noqa: PLC0415

            return int(report(error, arguments))
    raise error


def _complete(instruction: str) -> int:
    from click.shell_completion import shell_complete  # noqa: PLC0415

    return shell_complete(cli, {}, "aisecops", "_AISECOPS_COMPLETE", instruction)


def main() -> None:
    """Run the process's command line and exit."""
    sys.exit(run(sys.argv[1:]))
