"""From an exception to what a person or a program is told: cause, hint, reason, exit code."""

from __future__ import annotations

import errno
import os
import sys
import textwrap
from collections.abc import Sequence

import click

from aisecops_server.cli.exit_codes import ExitCode, of_reason
from aisecops_server.cli.failure import Failure, ServerUnreachableError, unreachable_hint
from aisecops_server.domain.display.visible_text import json_text, visible
from aisecops_server.domain.errors import AisecopsError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def report(error: Exception, arguments: Sequence[str]) -> ExitCode:
    """Tell about ``error``: words on standard error, or a JSON document when one was asked for."""
    if os.environ.get("AISECOPS_TRACEBACK"):
        import traceback  # noqa: PLC0415

        traceback.print_exception(error)
    failure = failure_of(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and _asked_output(arguments) == "table":
        # A group without a command is a question for its help, so that is the whole answer.
        click.echo(error.format_message(), err=True)
        return failure.exit_code
    if _asked_output(arguments) == "table":
        _say(f"error: {failure.message}", indent="  ")
        if failure.hint:
            _say(f"  hint: {failure.hint}", indent="  ")
    else:
        click.echo(json_text({"error": document(failure)}))
    return failure.exit_code


def _say(text: str, *, indent: str) -> None:
    """Print a line; on a terminal it breaks between words, and what is copied from it, such as a path, stays whole."""
    lines = visible(text).splitlines() or [""]
    if width := _terminal_width():
        broken = textwrap.TextWrapper(
            width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
        )
        lines = [part for line in lines for part in broken.wrap(line) or [""]]
    click.echo("\n".join(lines), err=True)


def _terminal_width() -> int:
    """Return how wide the terminal is that errors are shown on, 0 if it is none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 0


def document(failure: Failure) -> dict[str, object]:
    """Return the failure as the JSON that ``--output json`` prints."""
    return {
        "reason": failure.reason,
        "message": failure.message,
        "hint": failure.hint,
        "metadata": dict(failure.metadata),
        "exitCode": int(failure.exit_code),
    }


def failure_of(error: Exception) -> Failure:
    """Return what to tell about any exception; what we did not foresee is a failure, never a success."""
    match error:
        case click.ClickException():
            found = _of_usage(error)
        case AisecopsError():
            found = Failure(error.reason, error.message, error.hint, of_reason(error.reason), error.metadata())
        case ServerUnreachableError():
            found = Failure("SERVER_UNREACHABLE", str(error), unreachable_hint(), ExitCode.UNREACHABLE)
        case OSError():
            found = _of_system(error)
        case _:
            found = _of_client(error) or _unforeseen(error)
    return found


def _of_system(error: OSError) -> Failure:
    where = error.filename or "a file"
    if isinstance(error, FileNotFoundError) and error.filename is None:
        # Python names what it looked for in its own words, such as the directories for temporary files.
        hint = "Make one of them writable, or name one by TMPDIR" if "temporary" in str(error) else "Check the path"
        return Failure("NOT_FOUND", str(error.strerror or error), hint, ExitCode.NOT_FOUND)
    if isinstance(error, FileNotFoundError):
        return Failure("NOT_FOUND", f"there is no {where}", "Check the path", ExitCode.NOT_FOUND)
    if isinstance(error, PermissionError):
        hint = "Check its owner and mode, or give another --state-dir"
        return Failure("NOT_PERMITTED", f"this user may not read or write {where}", hint, ExitCode.NOT_PERMITTED)
    if error.errno in _NO_ROOM or error.errno == errno.EROFS:
        why = "there is no room left" if error.errno in _NO_ROOM else "the file system can only be read"
        hint = "'aisecops doctor' says what is missing; make room or mend the disk, and start again"
        return Failure(
            "DISK_FULL" if error.errno in _NO_ROOM else "READ_ONLY", f"{why} for {where}", hint, ExitCode.FAILURE
        )
    return _unforeseen(error)


def _unforeseen(error: Exception) -> Failure:
    return Failure(
        "INTERNAL",
        f"{type(error).__name__}: {error}",
        "This is a fault of ours. AISECOPS_TRACEBACK=1 prints where it happened",
        ExitCode.FAILURE,
    )


def _of_usage(error: click.ClickException) -> Failure:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "aisecops"
    message = " ".join(error.format_message().split())
    return Failure(
        "USAGE",
        message[:1].lower() + message[1:].rstrip("."),
        f"'{path} --help' shows how it is used",
        ExitCode.USAGE if isinstance(error, click.UsageError) else ExitCode(error.exit_code),
    )


def _of_client(error: Exception) -> Failure | None:
    # Nothing of gRPC is loaded unless a call was made.
    if "grpc" not in sys.modules:
        return None
    from aisecops_server.cli.remote_failures import remote_failure  # noqa: PLC0415

    return remote_failure(error)


def _asked_output(arguments: Sequence[str]) -> str:
    """Return the wanted output even when the line could not be parsed."""
    words = list(arguments)
    for index, word in enumerate(words):
        if word in {"-o", "--output"} and index + 1 < len(words):
            return words[index + 1] if words[index + 1] in {"json", "ndjson"} else "table"
        if word.startswith("--output="):
            return word.partition("=")[2] if word.partition("=")[2] in {"json", "ndjson"} else "table"
        if word in {"-ojson", "-ondjson"}:
            return word[2:]
    return "table"
