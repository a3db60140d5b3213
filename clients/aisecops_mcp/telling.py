"""What a client and its model are told when a call was not made: why, by which rule, and what would be acceptable.

A tool's result with ``isError`` is what a model reads and can learn from, so a refused call of a tool is one.
Everything else that is refused is an error of the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aisecops_client import AisecopsClientError, ApprovalRequiredError, CallDeniedError, RequestRefusedError

from aisecops_mcp import jsonrpc
from aisecops_mcp.governor import ApprovalRefusedError
from aisecops_mcp.jsonrpc import Message

# Members of `_meta` that are ours; servers see none of them.
OWN_META = "aisecops/"
DECISION, SOURCES = f"{OWN_META}decision", f"{OWN_META}sources"
MODERN = "io.modelcontextprotocol/protocolVersion"


def refusal(message: Message, error: Exception) -> bytes:
    """Return the answer to a request that was not forwarded because of ``error``."""
    if message.method != "tools/call":
        code = jsonrpc.NOT_ALLOWED if isinstance(error, CallDeniedError) else jsonrpc.NO_DECISION
        return jsonrpc.failure(message.id, code, words(error), _decision(error))
    result: dict[str, Any] = {"content": [{"type": "text", "text": words(error)}], "isError": True}
    if is_modern(message):
        result["resultType"] = "complete"
    if meta := about(error):
        result["_meta"] = meta
    return jsonrpc.answer(message.id, result)


def about(error: Exception) -> dict[str, Any]:
    """Return what programs are told of why something was not done, as members of `_meta`."""
    decision = _decision(error)
    return {DECISION: decision} if decision else {}


def without_own(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters or a result without the members of `_meta` that are ours."""
    kept = dict(told)
    meta = kept.get("_meta")
    if isinstance(meta, Mapping):
        kept["_meta"] = {name: value for name, value in meta.items() if not name.startswith(OWN_META)}
        if not kept["_meta"]:
            del kept["_meta"]
    return kept


def is_modern(message: Message) -> bool:
    """Return whether a request is of the protocol without connections (2026-07-28), which says so each time."""
    meta = message.params.get("_meta")
    return isinstance(meta, Mapping) and MODERN in meta


def words(error: Exception) -> str:
    """Return what people and models are told of why something was not done."""
    match error:
        case ApprovalRequiredError():
            return (
                f"Not run yet: people have to approve this call first. {error.message}\n"
                f"Request {error.approval_id}. When it is approved, make the same call with the same arguments again."
            )
        case CallDeniedError():
            remedies = "".join(f"\nWhat would be acceptable: {remedy}" for remedy in error.remedies)
            return f"Not run: {error.message}{remedies}"
        case ApprovalRefusedError():
            return f"Not run: {error.message}."
        case RequestRefusedError():
            return f"Not run: the call cannot be judged: {error.message}"
        case AisecopsClientError():
            return (
                "Not run: there is no decision, and without one nothing is allowed "
                f"({error.reason or error.code.name}: {error.message}). It can be tried again later."
            )
        case _:
            return f"Not run: {error}"


def _decision(error: Exception) -> dict[str, Any]:
    if not isinstance(error, CallDeniedError):
        return {"outcome": "NONE", "reason": error.reason} if isinstance(error, AisecopsClientError) else {}
    answer = error.answer
    return {
        "outcome": answer.outcome,
        "decisionId": answer.decision.decision_id,
        "traceId": answer.decision.trace_id,
        "rules": list(answer.rules),
        "approvalId": answer.approval_id,
    }
