"""The commands of ``aisecops drift``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show, when

if TYPE_CHECKING:
    from rich.console import Console


@command("show", examples="aisecops drift show -o json | jq .report.policies")
def show_drift() -> ExitCode:
    """Show what was found last by the control plane that runs. Exit code 3 when anything drifted."""
    from aisecops_client.drift import last_drift  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        found: dict[str, Any] = {"report": None, **to_json(last_drift(client))}
    report = found["report"]
    show(found, lambda target: _draw(target, report))
    if not int(found["intervalSeconds"]):
        say("nobody looks by themselves: drift_watch is off")
    return ExitCode.DENIED if report and report["found"] else ExitCode.OK


@command("check", examples="aisecops drift check")
def check() -> ExitCode:
    """Look now at a sample of recent decisions.

    They are asked again on their own policy and engine, and judged by the policy that is live and the one that is
    wanted next. Nothing acts; what is found is recorded. Exit code 3 when anything drifted.
    """
    from aisecops_client.drift import check_drift  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        report = to_json(check_drift(client))
    show({"report": report}, lambda target: _draw(target, report))
    return ExitCode.DENIED if report["found"] else ExitCode.OK


def _draw(target: Console, report: Mapping[str, Any] | None) -> None:
    from aisecops_server.terminal.drift import report_block  # noqa: PLC0415

    target.print(report_block(target, report, when) if report else "nobody looked yet; 'aisecops drift check' does")
