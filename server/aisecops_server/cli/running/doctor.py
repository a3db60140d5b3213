"""``aisecops doctor``: what is missing on this machine and how to mend it."""

from __future__ import annotations

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.progress import progress
from aisecops_server.cli.running.checks import all_checks, exit_code, show_checks


@command("doctor", examples="aisecops doctor -o json | jq '.checks[] | select(.state != \"ok\")'")
def doctor() -> ExitCode:
    """Say what is missing on this machine and how to mend it.

    A check that could not run is skipped, which is not the same as passed. Exit code 1 when one failed.
    """
    with progress("looking", "checks") as advance:
        checks = all_checks(settings(), advance)
    show_checks(checks)
    return exit_code(checks)
