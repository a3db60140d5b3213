"""Why a guarded call was not made. Whatever is raised here means: it did not run, and it must not be run otherwise."""

from __future__ import annotations

import grpc

from aisecops_client.answers import Answer
from aisecops_client.errors import AisecopsClientError


class CallRefusedError(AisecopsClientError):
    """A call was not made; ``reason`` says in one word why."""


class CallDeniedError(CallRefusedError):
    """Policy denies the call. ``answer`` has the findings, and with them what would be acceptable."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.explanation or "the plan is denied", grpc.StatusCode.PERMISSION_DENIED, "DENIED")
        self.answer = answer

    @property
    def remedies(self) -> tuple[str, ...]:
        """Return what would make the plan acceptable, each once."""
        return tuple(dict.fromkeys(finding.remedy for finding in self.answer.decision.findings if finding.remedy))

    def __str__(self) -> str:
        """Return the reason, the message, and what would be acceptable."""
        return " ".join((f"{self.reason}: {self.message}", *map("What would be acceptable: {}".format, self.remedies)))


class ApprovalRequiredError(CallDeniedError):
    """People have to approve the plan first."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.reason = "APPROVAL_REQUIRED"

    @property
    def approval_id(self) -> str:
        """Return the request that waits for people."""
        return self.answer.approval_id

    def __str__(self) -> str:
        """Return the reason, the message, and the request that waits."""
        return f"{self.reason}: {self.message} Request {self.approval_id} waits for people."


class GrantNotUsableError(CallRefusedError):
    """There is no grant by which the call may run; ``metadata["why"]`` says why, such as `expired` or `reused`."""

    def __init__(self, message: str, *, why: str) -> None:
        super().__init__(message, grpc.StatusCode.FAILED_PRECONDITION, "GRANT_NOT_USABLE", {"why": why})


class ObligationUnmetError(CallRefusedError):
    """An obligation of the grant cannot be met here. A result that it binds was withheld."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message, grpc.StatusCode.FAILED_PRECONDITION, "OBLIGATION_UNMET", {"kind": kind})


class ConfirmationDeclinedError(CallRefusedError):
    """Somebody was asked to confirm the call, and did not."""

    def __init__(self, tool: str) -> None:
        super().__init__(f"the call of {tool} was not confirmed", grpc.StatusCode.PERMISSION_DENIED, "NOT_CONFIRMED")


class NotApprovedError(CallRefusedError):
    """People were asked about the call, and did not approve it."""

    def __init__(self, approval_id: str) -> None:
        super().__init__(
            f"people did not approve the call (request {approval_id})",
            grpc.StatusCode.PERMISSION_DENIED,
            "NOT_APPROVED",
        )
        self.approval_id = approval_id


class ResultWithheldError(CallRefusedError):
    """A call was made, and nobody may see what it gave: an obligation on it cannot be met here."""

    def __init__(self) -> None:
        super().__init__(
            "the call was made; its result is withheld, because of an obligation that cannot be met here",
            grpc.StatusCode.FAILED_PRECONDITION,
            "RESULT_WITHHELD",
        )
