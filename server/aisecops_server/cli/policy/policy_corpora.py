"""The commands of ``aisecops policy`` that take recorded decisions along: a corpus, and golden cases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.cli.progress import waiting
from aisecops_server.cli.spelling import camel_case

if TYPE_CHECKING:
    from rich.console import Console

    from aisecops_server.domain.formats.canonical import JsonValue
    from aisecops_server.domain.replays.recorded_decision import RecordedDecision
    from aisecops_server.usecases.policy.export_corpus import ExportedCorpus

CASES = "cases/recorded.yaml"
_OUT = click.Path(path_type=Path, dir_okay=False)
_DIRECTORY = click.Path(path_type=Path, file_okay=False, exists=True)


@command("export", examples="aisecops policy corpus export --since 30d --file recent.ndjson.gz")
@click.option("--file", type=_OUT, required=True, help="Where to write; a name that ends in .gz is compressed.")
@click.option("--since", default="30d", show_default=True, help="How old decisions may be: 12h, 30d, 8w.")
@click.option("--most", type=click.IntRange(1, 200_000), default=5_000, show_default=True, help="Decisions at most.")
@click.option("--trace", "traces", multiple=True, help="A trace that must be in it, such as a protected one.")
def export(*, file: Path, since: str, most: int, traces: tuple[str, ...]) -> ExitCode:
    """Write recorded decisions of every kind into a file, without their private words.

    Reads the log of the state directory. Every word that does not stand in the policy becomes another one of the same
    kind; what is then decided otherwise than before is left out, and counted. The key of the words is kept nowhere.
    """
    from aisecops_server.adapters.corpus.corpus_file import write_corpus  # noqa: PLC0415
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415
    from aisecops_server.cli.policy.policy_impact import since_of  # noqa: PLC0415
    from aisecops_server.domain.replays.replay import Selection  # noqa: PLC0415

    begins = since_of(since, SystemClock().now_ns())
    found = _exported(Selection(from_micros=int(begins.timestamp()) * 1_000_000), most, traces)
    head: dict[str, JsonValue] = {
        "selected": found.selected,
        "left_out": dict(found.left_out),
        "since": begins.isoformat(),
    }
    written = write_corpus(file, head, found.decisions)
    document = {"file": str(file), "decisions": written, **head}

    def draw(console: Console) -> None:
        console.print(f"{written} decisions in {file}", soft_wrap=True)

    show(camel_case(document), draw)
    for reason, count in found.left_out.items():
        say(f"left out: {count} {reason}")
    return ExitCode.OK


@command("add", examples="aisecops policy golden add 0af7651916cd43dd8448eb211c80319c --directory ./policy")
@click.argument("trace", help="A trace's id, as 'trace list' prints it.")
@click.option("--directory", type=_DIRECTORY, default=Path(), help="The policy repository. Default: here.")
@click.option("--case", default="", help="What is to stay true, as a sentence. Default: the outcome and its rules.")
def add_case(*, trace: str, directory: Path, case: str) -> ExitCode:
    """Make golden cases of the decisions of a recorded trace, without their private words.

    They go into cases/recorded.yaml of the policy repository, and expect the outcome and the rules that are on record.
    """
    from aisecops_server.domain.errors import NotFoundError  # noqa: PLC0415
    from aisecops_server.domain.replays.replay import Selection  # noqa: PLC0415

    found = _exported(Selection(trace_ids=(trace,)), 100, ())
    if not found.decisions:
        why = ", ".join(found.left_out) or "no decision of it is on record"
        raise NotFoundError(f"trace {trace[:64]} gives no case: {why}", hint="Write the case by hand", id=trace[:64])
    file = directory / CASES
    before = file.read_bytes() if file.is_file() else b""
    made = [_case(decision, case, len(found.decisions)) for decision in found.decisions]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(before + b"".join(made))
    document: dict[str, Any] = {"file": str(file), "cases": len(made), "leftOut": dict(found.left_out)}
    show(document, lambda console: console.print(f"{len(made)} cases in {file}", soft_wrap=True))
    say("next: aisecops policy golden run")
    return ExitCode.OK


def _exported(selection: Any, most: int, traces: Sequence[str]) -> ExportedCorpus:
    from aisecops_server.adapters.system import RandomChance  # noqa: PLC0415
    from aisecops_server.bootstrap.replay import replaying  # noqa: PLC0415
    from aisecops_server.cli.configuration import tenant_settings  # noqa: PLC0415

    async def run() -> ExportedCorpus:
        async with replaying(tenant_settings(), niceness=0) as made:
            return await made.export(selection, most=most, key=RandomChance().key(), always=traces)

    with waiting("reading decisions and replacing their words"):
        return asyncio.run(run())


def _case(decision: RecordedDecision, sentence: str, count: int) -> bytes:
    """Return one case as YAML; its document is JSON on one line, which every reader of YAML reads."""
    from aisecops_server.domain.formats.canonical import canonical_bytes  # noqa: PLC0415

    findings = [each for each in decision.parts("findings") if each.get("effect") != "warn"]
    rules = sorted({str(each["rule"]) for each in findings})
    told = sentence or f"{decision.text('outcome')} by {', '.join(rules) or 'no rule'}"
    # Each case has a sentence of its own.
    told = f"{told} ({decision.decision_id})" if count > 1 or not sentence else told
    expect: dict[str, JsonValue] = {"outcome": decision.text("outcome"), "rules": list(rules)}
    fields: dict[str, JsonValue] = {
        "case": told,
        "trace": decision.text("trace_id"),
        "document": dict(decision.content),
        "expect": expect,
    }
    lines = [
        f"{'- ' if name == 'case' else '  '}{name}: ".encode() + canonical_bytes(value)
        for name, value in fields.items()
    ]
    return b"\n" + b"\n".join(lines) + b"\n"
