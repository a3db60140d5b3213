"""The commands of ``aisecops evidence``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.cli.traces.narrowing import filter_of, is_narrowed, narrowing
from aisecops_server.domain.errors import InvalidRequestError


@command(
    "export",
    examples="""
    aisecops evidence export 0af7651916cd43dd8448eb211c80319c -f case-17.zip
    aisecops evidence export --outcome blocked --from 2026-11-01 -f blocked.zip
    aisecops evidence export --where 'outcome:blocked -agent:spiffe://corp.example/agent/ci' -f blocked.zip
    """,
)
@click.argument("traces", nargs=-1)
@click.option("-f", "--file", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where to write it.")
@narrowing
def export(*, traces: tuple[str, ...], file: Path, **asked: Any) -> ExitCode:
    """Make a package of TRACES, or of all that the options select.

    It holds the events, the documents that were decided on, the policies that decided, a signed checkpoint and the
    proofs, and a summary to read. Who gets it needs no access to anything of yours. That it was made is recorded.
    """
    from aisecops_client.evidence import export_evidence  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    if bool(traces) == is_narrowed(asked):
        raise InvalidRequestError(
            "name traces, or options that select them, and not both", hint="'aisecops trace list' shows traces"
        )
    draft = file.with_name(f".{file.name}.part")
    try:
        with connect() as client, draft.open("wb") as target:
            chosen = None if traces else filter_of(asked)
            summary = export_evidence(client, target, trace_ids=traces, narrow=chosen)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    document = {"file": str(file), **to_json(summary)}
    show(
        document,
        lambda target: target.print(f"{file}: {summary.traces} traces, {summary.events} events", soft_wrap=True),
    )
    say(f"sha256        {summary.sha256}")
    say(f"log key       {summary.log_key}")
    say(f"evidence key  {summary.evidence_key}")
    say("Give the reader these keys by another way than the package.")
    return ExitCode.OK


@command(
    "keys",
    examples="""
    aisecops evidence keys > evidence.keys.json
    aisecops evidence keys show
    aisecops evidence keys rotate --reason "yearly"
    aisecops evidence keys revoke --reason "a backup with the key was lost"
    """,
)
@click.argument("action", required=False, type=click.Choice(["show", "rotate", "revoke"]))
@click.option("--reason", default="", help="With 'rotate' and 'revoke': why; it stands in the log.")
def keys(*, action: str | None, reason: str) -> ExitCode:
    """Print the keys that sign packages for those who verify, show them, or have another key sign.

    Who has them verifies packages of every key, and is told of one that was revoked. 'rotate' has a new key sign;
    packages of the old one go on counting. 'revoke' does the same, and no package of any earlier key counts any more
    with who knows of it: for a key that was stolen. Export what is needed anew then. The old private key is deleted.
    """
    from aisecops.v1.key_service_pb2 import KEY_USE_EVIDENCE  # noqa: PLC0415

    from aisecops_server.cli.evidence.signing_keys import told_keys  # noqa: PLC0415

    return told_keys(KEY_USE_EVIDENCE, action, reason)


@command(
    "verify",
    examples="""
    aisecops evidence verify case-17.zip --log-key "$(cat log.key)"
    aisecops evidence verify case-17.zip --reproduce
    """,
)
@click.argument("package", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--log-key", help="The log's key, as you know it.")
@click.option("--evidence-key", help="The key that signs packages, as you know it.")
@click.option(
    "--evidence-keys",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="All keys that signed packages, as 'aisecops evidence keys' printed them.",
)
@click.option("--witness-key", multiple=True, help="A witness that must have signed; may be given repeatedly.")
@click.option("--reproduce", is_flag=True, help="Make every decision again, with the installed engine.")
def verify(
    *,
    package: Path,
    log_key: str | None,
    evidence_key: str | None,
    evidence_keys: Path | None,
    witness_key: tuple[str, ...],
    reproduce: bool,
) -> ExitCode:
    """Verify PACKAGE.

    Does what the stand-alone 'aisecops-verify' does. Exit code 9 when anything does not verify, 2 when a key that is
    given is none. A key that is not given is taken from the package, which then only proves that it fits together.
    """
    from aisecops_verify import EvidenceError, Report, Trust  # noqa: PLC0415
    from aisecops_verify import verify as verified  # noqa: PLC0415

    _require_keys(log_key, evidence_key, witness_key)
    problem, report = "", Report()
    try:
        trust = Trust(log_key or "", evidence_key or "", witness_key, evidence_keys=_history(evidence_keys))
        report = verified(package.read_bytes(), trust, opa=_engine() if reproduce else "")
    except EvidenceError as error:
        problem = str(error)
    document: dict[str, Any] = {
        "ok": not problem,
        "problem": problem,
        "checks": report.checks,
        "remarks": report.remarks,
    }
    show(document, lambda target: target.print("\n".join(_lines(document)), soft_wrap=True))
    return ExitCode.OK if not problem else ExitCode.UNVERIFIED


@command(
    "open",
    examples="""
    aisecops evidence open case-17.zip
    aisecops evidence open case-17.zip --log-key "$(cat log.key)" --address 127.0.0.1:8471
    """,
)
@click.argument("package", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--log-key", help="The log's key, as you know it.")
@click.option("--evidence-key", help="The key that signs packages, as you know it.")
@click.option(
    "--evidence-keys",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="All keys that signed packages, as 'aisecops evidence keys' printed them.",
)
@click.option("--witness-key", multiple=True, help="A witness that must have signed; may be given repeatedly.")
@click.option("--address", default="127.0.0.1:0", show_default=True, help="Where on this machine to listen.")
def show_package(
    *,
    package: Path,
    log_key: str | None,
    evidence_key: str | None,
    evidence_keys: Path | None,
    witness_key: tuple[str, ...],
    address: str,
) -> ExitCode:
    """Verify PACKAGE, and show its traces in the browser until you interrupt it.

    Needs no control plane, no database and no network. Nothing can be changed. A package that does not verify is not
    shown: exit code 9.
    """
    import asyncio  # noqa: PLC0415

    from aisecops_server.adapters.evidence.package_log import open_package  # noqa: PLC0415
    from aisecops_server.bootstrap.opened import package_ui  # noqa: PLC0415

    _require_keys(log_key, evidence_key, witness_key)
    log = open_package(
        package.read_bytes(),
        log_key=log_key or "",
        evidence_key=evidence_key or "",
        witnesses=witness_key,
        evidence_keys=_history(evidence_keys),
    )
    for remark in log.facts.remarks:
        say(f"! {remark}")

    async def shown() -> None:
        async with package_ui(log, package.name, address=address) as link:
            click.echo(link)
            say("the link is for you; interrupt to end")
            await asyncio.Event().wait()

    asyncio.run(shown())
    return ExitCode.OK


def _require_keys(log_key: str | None, evidence_key: str | None, witness_keys: Sequence[str]) -> None:
    from aisecops_verify import EvidenceError, require_keys  # noqa: PLC0415

    try:
        require_keys(log_key, evidence_key, witness_keys)
    except EvidenceError as error:
        hint = "'aisecops log key' and 'aisecops evidence keys' of whoever runs the control plane print them"
        raise InvalidRequestError(str(error), hint=hint, field="key") from error


def _history(file: Path | None) -> str | None:
    return file.read_text("utf-8", "replace") if file else None


def _lines(document: dict[str, Any]) -> list[str]:
    if document["problem"]:
        return [f"✕ does not verify: {document['problem']}"]
    return [*(f"✓ {check}" for check in document["checks"]), *(f"! {remark}" for remark in document["remarks"])]


def _engine() -> str:
    from aisecops_server.adapters.opa.binary import locate  # noqa: PLC0415

    return str(locate(settings().engine_dir, given=settings().engine_path).path)
