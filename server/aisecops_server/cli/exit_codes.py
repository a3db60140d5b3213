"""What the process's exit code says. The only table from outcomes and errors to numbers."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes, listed in ``aisecops --help``."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    DENIED = 3
    ESCALATED = 4
    REPLAY_CHANGED = 5
    NOT_FOUND = 6
    NOT_PERMITTED = 7
    UNREACHABLE = 8
    UNVERIFIED = 9
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "done; allowed",
    ExitCode.FAILURE: "failed",
    ExitCode.USAGE: "wrong usage",
    ExitCode.DENIED: "blocked, or something was found",
    ExitCode.ESCALATED: "escalated: approval is pending",
    ExitCode.REPLAY_CHANGED: "a replay changed a decision",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.NOT_PERMITTED: "not permitted, or no valid credential",
    ExitCode.UNREACHABLE: "control plane or policy engine unreachable",
    ExitCode.UNVERIFIED: "verification failed",
    ExitCode.INTERRUPTED: "interrupted",
}

_OF_OUTCOME = {
    "ALLOW": ExitCode.OK,
    "DENY": ExitCode.DENIED,
    "REQUIRE_APPROVAL": ExitCode.ESCALATED,
}

_OF_REASON = {
    "INVALID_PLAN": ExitCode.USAGE,
    "INVALID_REQUEST": ExitCode.USAGE,
    "UNAUTHENTICATED": ExitCode.NOT_PERMITTED,
    "NOT_PERMITTED": ExitCode.NOT_PERMITTED,
    "ENGINE_UNAVAILABLE": ExitCode.UNREACHABLE,
    "SERVER_UNREACHABLE": ExitCode.UNREACHABLE,
    "REPOSITORY_UNAVAILABLE": ExitCode.UNREACHABLE,
    "UNKNOWN_REVISION": ExitCode.NOT_FOUND,
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "APPROVAL_NOT_USABLE": ExitCode.DENIED,
    "HELD": ExitCode.DENIED,
    "INTEGRITY": ExitCode.UNVERIFIED,
}


def of_outcome(outcome: str) -> ExitCode:
    """Return the code of an outcome; an unknown one is a denial."""
    return _OF_OUTCOME.get(outcome.removeprefix("OUTCOME_"), ExitCode.DENIED)


def of_reason(reason: str) -> ExitCode:
    """Return the code of an error's reason."""
    return _OF_REASON.get(reason, ExitCode.FAILURE)
