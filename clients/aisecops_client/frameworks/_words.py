"""What a model is told of a call that was not made: why, and what would be acceptable instead."""

from __future__ import annotations

from aisecops_client.errors import AisecopsClientError, RequestRefusedError
from aisecops_client.frameworks._heard import NOT_RUN
from aisecops_client.refusals import ApprovalRequiredError, CallDeniedError, CallRefusedError, ResultWithheldError

_OUTCOME_KEYS = ("outcome", "reason", "rules", "decision_id", "approval_id")


def words(error: BaseException) -> str:
    """Return what the model is told. All of it begins with the same words, and says nothing of the program's inside."""
    if isinstance(error, ResultWithheldError):
        return f"{error.message[0].upper()}{error.message[1:]}."
    return f"{NOT_RUN}: {_why(error)}"


def about(error: BaseException) -> dict[str, object]:
    """Return the same for programs: outcome, reason, rules, and the identifiers of decision and request."""
    told: dict[str, object] = dict.fromkeys(_OUTCOME_KEYS, "") | {"outcome": "NONE", "rules": []}
    if isinstance(error, AisecopsClientError):
        told["reason"] = error.reason or error.code.name
    if isinstance(error, CallDeniedError):
        answer = error.answer
        told |= {"outcome": answer.outcome, "rules": list(answer.rules)}
        told |= {"decision_id": answer.decision.decision_id, "approval_id": answer.approval_id}
    return told


def _why(error: BaseException) -> str:
    match error:
        case ApprovalRequiredError():
            why = f"people have to approve this call first (request {error.approval_id}). {error.message}"
        case CallDeniedError():
            why = error.message + "".join(f"\nWhat would be acceptable: {remedy}" for remedy in error.remedies)
        case CallRefusedError():
            why = f"{error.message}."
        case RequestRefusedError():
            why = f"the call cannot be judged: {error.message}"
        case AisecopsClientError():
            code = error.reason or error.code.name
            why = f"there is no decision, and without one nothing is allowed ({code}). It can be tried again later."
        case TypeError() | ValueError():
            why = "the call cannot be judged: its arguments have no exact form as JSON"
        case _:
            why = f"there is no decision ({type(error).__name__}), and without one nothing is allowed"
    return why
