"""The commands of ``aisecops compliance``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show, show_list
from aisecops_server.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from aisecops.v1.compliance_service_pb2 import CheckComplianceResponse
    from rich.console import Console

_SUFFIXES = (".md", ".html", ".jsonl")
_revision = click.option("--revision", default="", help="A commit, branch or tag. Default: what is live.")


@command("list", examples="aisecops compliance list -o json | jq -r .frameworks[].framework")
@_revision
def list_frameworks(*, revision: str) -> ExitCode:
    """List the frameworks that policy maps, with the edition of each and how far it is covered."""
    from aisecops_client.compliance import Compliance  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        found = to_json(Compliance(client).frameworks(revision=revision))

    def draw(console: Console) -> None:
        from aisecops_server.terminal.compliance import framework_table  # noqa: PLC0415

        console.print(framework_table(found["frameworks"]))

    show_list(found, items="frameworks", draw=draw, empty="no framework is mapped")
    return ExitCode.OK


@command("show", examples="aisecops compliance show eu-ai-act-2024")
@click.argument("framework", help="Its id; 'aisecops compliance list' shows them.")
@_revision
def show_framework(*, framework: str, revision: str) -> ExitCode:
    """Show the requirements of FRAMEWORK as they are mapped: what is done, what is not, and what can be looked at."""
    from aisecops_client.compliance import Compliance  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        found = to_json(Compliance(client).framework(framework, revision=revision))

    def draw(console: Console) -> None:
        from aisecops_server.terminal.compliance import framework_block  # noqa: PLC0415

        console.print(framework_block(console, found))

    show({"framework": found}, draw)
    return ExitCode.OK


@command(
    "check",
    examples="""
    aisecops compliance check
    aisecops compliance check --framework owasp-agentic-2026 --revision HEAD
    aisecops compliance check --write compliance.html
    """,
)
@click.option("--framework", default="", help="Only this one.")
@_revision
@click.option(
    "--write",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write it: as .md, as .html, or as .jsonl for a SIEM (OCSF Compliance Findings).",
)
def check(*, framework: str, revision: str, target: Path | None) -> ExitCode:
    """Decide the scenarios of a revision, run the checks of the control plane, and say what holds.

    A requirement holds only while every scenario and check that it names passes. Exit code 3 when one fails.
    """
    from aisecops_client.compliance import Compliance  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    if target is not None and target.suffix not in _SUFFIXES:
        raise InvalidRequestError(f"{target} is of no known form", hint="Call it .md, .html or .jsonl", field="write")
    with connect() as client:
        answer = Compliance(client).check(framework=framework, revision=revision)
    if target is not None:
        target.write_text(_written(answer, target.suffix), encoding="utf-8")
        say(f"wrote {target}")
    found: dict[str, Any] = to_json(answer)

    def draw(console: Console) -> None:
        from aisecops_server.terminal.compliance import report_block  # noqa: PLC0415

        console.print(report_block(console, found))

    show(found, draw)
    failed = found["problems"] or any(one["counts"]["fails"] for one in found["frameworks"])
    return ExitCode.DENIED if failed else ExitCode.OK


def _written(answer: CheckComplianceResponse, suffix: str) -> str:
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415

    from aisecops_server.domain.compliance.compliance_page import markdown, page  # noqa: PLC0415

    report = MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    if suffix == ".jsonl":
        return _findings(report)
    return page([report]) if suffix == ".html" else markdown(report)


def _findings(report: dict[str, Any]) -> str:
    from importlib import metadata  # noqa: PLC0415

    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415
    from aisecops_server.domain.exports.ocsf import ocsf_compliance  # noqa: PLC0415

    time_ms = SystemClock().now_ns() // 1_000_000
    found = ocsf_compliance(report, time_ms=time_ms, producer=metadata.version("aisecops"))
    return "".join(f"{json.dumps(document)}\n" for document in found)
