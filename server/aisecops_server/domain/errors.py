"""Every error that may leave a use case, grouped by who must act.

Adapters raise only these; foreign exceptions are chained with ``from`` and never leak. Each class carries a
``reason`` that is a value of ``aisecops.v1.ErrorReason`` without its prefix. A denial is not an error.
"""

from __future__ import annotations

from typing import ClassVar


class AisecopsError(Exception):
    """Base of all errors of the control plane.

    ``message`` says what is wrong and ``hint`` what to do about it; both are safe to show to the caller.
    """

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, hint: str = "", **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self._metadata = metadata

    def metadata(self) -> dict[str, str]:
        """Return the machine-readable facts of the error."""
        return dict(self._metadata)

    def diagnostics(self) -> str:
        """Return the message with what to do next."""
        return f"{self.message}. {self.hint}" if self.hint else self.message


# The caller must act.


class InvalidRequestError(AisecopsError):
    """A field of a request breaks the contract; ``metadata()["field"]`` names it."""

    reason = "INVALID_REQUEST"


class InvalidPlanError(InvalidRequestError):
    """A plan breaks the contract; ``metadata()["field"]`` names the field."""

    reason = "INVALID_PLAN"


class UnauthenticatedError(AisecopsError):
    """The caller has no credential, or one that does not verify."""

    reason = "UNAUTHENTICATED"


class NotPermittedError(AisecopsError):
    """The caller's roles do not include the call."""

    reason = "NOT_PERMITTED"


class NotFoundError(AisecopsError):
    """No trace, decision or event has that id."""

    reason = "NOT_FOUND"


class IdempotencyConflictError(AisecopsError):
    """The idempotency key was used for another plan."""

    reason = "IDEMPOTENCY_CONFLICT"


class GrantNotUsableError(AisecopsError):
    """A grant does not open the call that it was presented for; ``metadata()["why"]`` says in one word why."""

    reason = "GRANT_NOT_USABLE"


class OverloadedError(AisecopsError):
    """Too many decisions are in flight; retry later."""

    reason = "OVERLOADED"


class ContendedError(AisecopsError):
    """Somebody else took what a change of state needs after it was looked up; ask again."""

    reason = "CONTENDED"


class HeldError(AisecopsError):
    """A legal hold forbids what was asked; ``metadata()["hold"]`` names it."""

    reason = "HELD"


class ApprovalNotUsableError(AisecopsError):
    """An approval does not stand for the plan, or takes no vote any more; ``metadata()["why"]`` says which and why."""

    reason = "APPROVAL_NOT_USABLE"


class RecordsRefusedError(AisecopsError):
    """What an edge sent does not continue what it sent before; ``metadata()["why"]`` says in one word why not."""

    reason = "RECORDS_REFUSED"


# The policy author must act.


class UnknownRevisionError(AisecopsError):
    """The policy repository has no such commit, branch or tag."""

    reason = "UNKNOWN_REVISION"


class BundleRejectedError(AisecopsError):
    """A revision could not be built, verified or probed."""

    reason = "BUNDLE_REJECTED"


class RolloutRefusedError(AisecopsError):
    """A rollout may not take this step now; ``metadata()["why"]`` says in one word why not."""

    reason = "ROLLOUT_REFUSED"


# The operator must act.


class NoDecisionError(AisecopsError):
    """The engine answered with something that is not a decision."""

    reason = "NO_DECISION"


class EngineUnavailableError(AisecopsError):
    """No engine answered in time."""

    reason = "ENGINE_UNAVAILABLE"


class PolicyStaleError(AisecopsError):
    """Policy is older than it may be, so nothing is allowed by it; ``metadata()["why"]`` says in one word why."""

    reason = "POLICY_STALE"


class NoLiveRevisionError(AisecopsError):
    """No revision is live."""

    reason = "NO_LIVE_REVISION"


class LogUnavailableError(AisecopsError):
    """A decision could not be recorded, so it was withheld."""

    reason = "LOG_UNAVAILABLE"


class SealedError(LogUnavailableError):
    """The log is sealed: it is read-only until an operator acts."""

    reason = "SEALED"


class GrantKeyMissingError(AisecopsError):
    """The log names a key that signs grants, and this control plane does not have it (yet)."""

    reason = "GRANT_KEY_MISSING"


class SigningKeyMissingError(AisecopsError):
    """The log names a key that signs bundles or evidence packages, and this control plane does not have it (yet)."""

    reason = "SIGNING_KEY_MISSING"


class RepositoryUnavailableError(AisecopsError):
    """The policy repository cannot be read."""

    reason = "REPOSITORY_UNAVAILABLE"


class IntegrityError(AisecopsError):
    """Stored data does not verify."""

    reason = "INTEGRITY"
