"""The command page, from the command tree itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click
from aisecops_server.cli.exit_codes import MEANINGS
from aisecops_server.cli.invocation import global_options
from aisecops_server.cli.main import cli

from docs.generate.markdown import code, one_line, table

INTRODUCTION = """# Commands

Data goes to standard output, everything else to standard error. `-o json` holds for results, empty results and
errors alike. `aisecops COMMAND --help` says the same as this page.

"""

# What is printed as JSON: by commands that ask the control plane, its message; by the others, these fields.
SHAPES: Mapping[str, tuple[str, ...]] = {
    "decide": ("decision", "receipt", "approvalId"),
    "screen": ("decision", "receipt", "parts", "detections", "approvalId"),
    "explain": ("initiator", "decision", "capabilities", "influences", "replay", "documentJson", "traceText", "lines"),
    "trace show": ("summary", "decisions", "events"),
    "trace list": ("traces", "nextPageToken"),
    "trace facets": ("counted", "whole", "facets"),
    "approvals list": ("approvals", "nextPageToken"),
    "approvals show": ("approval", "statementJson", "decision", "caller", "pastAnswers", "identical"),
    "approvals approve": ("approval", "answered"),
    "approvals deny": ("approval", "answered"),
    "approvals withdraw": ("approval",),
    "approvals wait": ("approval",),
    "compliance list": ("frameworks",),
    "compliance show": ("framework",),
    "compliance check": ("revision", "bundleDigest", "engineVersion", "eventsRead", "frameworks", "problems"),
    "drift show": ("report", "intervalSeconds", "sampleSize"),
    "drift check": ("report",),
    "agent list": ("agents", "nextPageToken", "registered", "unregistered", "revision"),
    "agent show": ("agent",),
    "metrics": ("figures", "traces"),
    "maturity": ("overall", "agents", "revision", "since", "decisions"),
    "approvals key": ("publicKey", "keyId"),
    "approvals notices list": ("notices", "nextPageToken"),
    "approvals notices resend": ("notice",),
    "approvals rotate-key": ("retired", "current", "retiredAtSeconds"),
    "bundle list": ("revisions", "nextPageToken"),
    "bundle show": ("revision", "rules"),
    "bundle status": ("status",),
    "bundle diff": ("files",),
    "rollout start": ("rollout",),
    "rollout status": ("rollout",),
    "rollout list": ("rollouts",),
    "rollout canary": ("rollout",),
    "rollout promote": ("rollout",),
    "rollout rollback": ("rollout",),
    "rollout abort": ("rollout",),
    "grant keys": ("keys",),
    "evidence keys": ("key", "rotations"),
    "trace import": ("traces", "new", "calls"),
    "trace evaluate": ("revision", "decided", "skipped", "failed", "unknown", "tallies"),
    "budget list": ("budgets", "nextPageToken"),
    "budget show": ("budget",),
    "budget history": ("budget", "periods", "nextPageToken", "remarks"),
    "budget adjust": ("budget",),
    "budget release": ("state", "openStepIds"),
    "policy init": ("path", "commit", "branch", "files"),
    "policy new-rule": ("written",),
    "policy schemas": ("written",),
    "policy impact": (
        *("replayId", "base", "candidate", "source", "passed", "trustworthy", "fidelity", "compared", "flips"),
        *("looser", "stricter", "risky", "accepted", "indeterminate", "errors", "obligations", "reasonsOnly"),
        *("transitions", "rules", "agents", "tools", "tenants", "groups", "changes", "cost", "problems"),
        "milliseconds",
    ),
    "policy why": ("rule",),
    "policy catalogue": ("revision", "rules"),
    "policy corpus export": ("file", "decisions", "selected", "leftOut", "since"),
    "policy golden add": ("file", "cases", "leftOut"),
    **dict.fromkeys(
        ("policy announce", "policy announced"),
        ("channel", "commit", "content", "counter", "issuedAt", "expiresAt", "keyId"),
    ),
    "policy channel-key": ("publicKey", "keyId"),
    "policy check": ("policy", "base", "passed", "errors", "warnings", "checks"),
    "log head": ("size", "root"),
    "log verify": ("ok", "stored", "recomputed", "problem", "badIndex", "against"),
    "db init": ("schema", "migrations", "writers", "readers", "tenants"),
    "db migrate": ("schema", "migrations", "writers", "readers", "tenants"),
    "db status": ("server", "role", "schema", "log", "problems", "tenants"),
    "db import": ("size", "root"),
    "backup make": ("folder", "madeAtSeconds", "log", "files"),
    "backup verify": ("folder", "madeAtSeconds", "log", "files", "missing"),
    "backup restore": ("folder", "madeAtSeconds", "log", "files", "approvals", "grants", "logIndex"),
    "airgap pack": ("file", "bytes", "sha256", "wheels", "engine", "policy"),
    "health": ("state",),
    "top": (
        *("server", "state", "decisions", "queue", "log", "policy", "budgets", "approvals", "incidents"),
        "problems",
    ),
    "doctor": ("checks", "counts"),
    "engine doctor": ("checks", "counts"),
    "engine path": ("path", "version", "sha256", "source"),
    "engine list": ("engines",),
    "config show": ("settings",),
    "dev policy": ("path", "commit", "branch"),
    "dev onboard": ("written", "added", "byHand", "leftOut"),
    "dev ca": ("authority", "settings", "holders"),
    "dev token": ("token", "subject", "roles", "expiresInSeconds"),
    "an error": ("error",),
}
_SHAPES_TEXT = """## What `-o json` prints

One object, with always the same fields at its top, whatever their values are. What the control plane answered is its
message in proto3 JSON: the [API](rpc.md) has the fields below. `-o ndjson` prints the elements of a list one a line.
An error has `reason`, `message`, `hint`, `metadata` and `exitCode`; its [reason](error-reasons.md) is stable, its
words are not.

"""


def page() -> str:
    """Return the page."""
    context = click.Context(cli, info_name="aisecops")
    options = table(["option", "meaning"], _records(global_options(), context))
    codes = table(["code", "meaning"], [[str(int(number)), meaning] for number, meaning in MEANINGS.items()])
    commands = "\n".join(_commands(cli, context))
    shapes = table(["command", "fields"], [[code(name), " ".join(map(code, names))] for name, names in SHAPES.items()])
    parts = [
        f"{INTRODUCTION}## Options of every command\n\n{options}",
        f"## Exit codes\n\n{codes}",
        f"{_SHAPES_TEXT}{shapes}",
        commands,
    ]
    return "\n".join(parts)


def _commands(command: click.Command, context: click.Context) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield _section(command, context)
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if found is not None and not found.hidden:
            yield from _commands(found, click.Context(found, info_name=name, parent=context))


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    own = getattr(command, "own", command.params)
    rows = _records([item for item in own if isinstance(item, click.Option)], context)
    options = "\n" + table(["option", "meaning"], rows) if rows else ""
    examples = "".join(_examples(getattr(command, "examples", "").strip().splitlines()))
    shown = f"\n```console\n{examples}```\n" if examples else ""
    text = "\n\n".join(one_line(part) for part in (command.help or "").replace("\b", "").split("\n\n"))
    return f"## {context.command_path}\n\n{text}\n\n```text\n{usage}\n```\n{options}{shown}"


def _examples(lines: list[str]) -> Iterator[str]:
    """Yield each example as a comment and the command; a line that is no command is about the one before it."""
    pairs: list[tuple[str, str]] = []
    for line in map(str.strip, lines):
        if line.startswith("aisecops"):
            typed, _, meaning = line.partition("  ")
            pairs.append((typed, meaning.strip()))
        elif pairs:
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {line}".strip())
    for typed, meaning in pairs:
        yield (f"# {meaning}\n" if meaning else "") + f"$ {typed}\n"


def _records(options: list[click.Option] | list[click.Parameter], context: click.Context) -> list[list[str]]:
    records = [option.get_help_record(context) for option in options]
    return [[code(record[0]), record[1]] for record in records if record]
