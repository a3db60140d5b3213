"""One use of a tool: decided before it, told after it."""

from __future__ import annotations

import hashlib
import json
import os
from binascii import b2a_base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aisecops_grant.arguments import canonical_arguments

from aisecops_hook.asking import Asking, plain
from aisecops_hook.events import Event, Kind
from aisecops_hook.failures import HookError
from aisecops_hook.memory import Memory

# Obligations that are met by what is done here anyway: of what a tool gave, the digest alone is kept.
_MET = frozenset({"log_digest_only"})
_SOURCES = 240


class Deciding(NamedTuple):
    """Decides the uses of tools of one session."""

    asking: Asking
    memory: Memory
    environment: str
    urandom: Callable[[int], bytes] = os.urandom

    def before(self, event: Event) -> None:
        """Return when the tool may be used now.

        Raises:
            HookError: it may not.
        """
        entries = self.memory.entries()
        try:
            arguments = canonical_arguments(event.arguments)
        except (TypeError, ValueError) as error:
            raise HookError(f"the arguments have no exact form: {plain(error)}") from error
        step = _step(event.tool, arguments, entries)
        plan = self._plan(event, step, arguments, entries)
        answer = self._decide(plan, "")
        approval_id = str(answer.get("approvalId", ""))
        if _outcome(answer) == "OUTCOME_REQUIRE_APPROVAL" and approval_id:
            if not self._is_granted(approval_id):
                raise HookError(_how_to_ask(answer, approval_id))
            answer = self._decide(plan, approval_id)
        grant = _grant(answer, step, event.tool, hashlib.sha256(arguments).hexdigest())
        digest_only = any(item.get("kind") == "log_digest_only" for item in grant.get("obligations", ()))
        self.memory.add(
            {"granted": grant["grantId"], "step": step, "tool": event.tool, "call": _call(event), "quiet": digest_only}
        )

    def after(self, event: Event) -> None:
        """Tell that a tool was used, and keep what it gave.

        Raises:
            HookError: it cannot be told, or not be kept.
        """
        call = _call(event)
        entries = self.memory.entries()
        told = {entry["told"] for entry in entries if "told" in entry}
        used = [entry for entry in entries if entry.get("call") == call and entry["granted"] not in told]
        text = event.result if isinstance(event.result, str) else json.dumps(event.result, ensure_ascii=False)
        about: dict[str, Any] = {"heard": "tool_result", "text": text}
        if not used:
            # Nobody decided it here, so its result is nobody's word.
            self.memory.add(about)
            return
        grant = used[0]
        if grant["quiet"]:
            about |= {"text": None, "digest": hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()}
        self.memory.add({**about, "tool": event.tool, "step": grant["step"], "told": grant["granted"]})
        report = {
            "outcome": f"EXECUTION_OUTCOME_{'FAILED' if event.kind is Kind.FAILED else 'EXECUTED'}",
            "tool": event.tool,
            "argumentsSha256": hashlib.sha256(canonical_arguments(event.arguments)).hexdigest(),
        }
        self.asking.call("ExecutionService/Complete", {"grantId": grant["granted"], "report": report})

    def _decide(self, plan: Mapping[str, Any], approval_id: str) -> Mapping[str, Any]:
        keys = {name: self.urandom(16).hex() for name in ("idempotencyKey", "redemptionKey")}
        return self.asking.call("DecisionService/Decide", {"plan": plan, "approvalId": approval_id, **keys})

    def _is_granted(self, approval_id: str) -> bool:
        shown = self.asking.call("ApprovalService/GetApproval", {"approvalId": approval_id})
        return bool(_object(shown.get("approval")).get("state") == "APPROVAL_STATE_GRANTED")

    def _plan(
        self, event: Event, step: str, arguments: bytes, entries: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        session = hashlib.sha256(event.session.encode("utf-8", "replace")).hexdigest()
        heard = [entry for entry in entries if "heard" in entry]
        ran = [entry for entry in heard if "step" in entry]
        # What no longer fits is one source of which nothing is known.
        sources = [_source(entry, at) for at, entry in enumerate(heard[-_SOURCES:])]
        if len(heard) > _SOURCES:
            sources.insert(0, _source({"heard": "tool_result", "text": None}, _SOURCES))
        return {
            "environment": self.environment,
            "sessionId": f"hook-{session[:32]}",
            "traceId": session[32:],
            "intent": next((plain(entry["text"]) for entry in reversed(heard) if entry["heard"] == "user_prompt"), "")[
                :500
            ],
            "sources": sources,
            "steps": [{"stepId": step, "tool": event.tool, "argumentsJson": _base64(arguments)}],
            "history": [{"stepId": entry["step"], "tool": entry["tool"]} for entry in ran[-1000:]],
        }


def _step(tool: str, arguments: bytes, entries: Sequence[Mapping[str, Any]]) -> str:
    """Return what a use is known by: what it does, so that asking again after an approval is asking for the same."""
    name = f"use-{hashlib.sha256(tool.encode() + arguments).hexdigest()[:24]}"
    before = sum(str(entry.get("step", "")).startswith(name) for entry in entries if "heard" in entry)
    return f"{name}.{before + 1}" if before else name


def _call(event: Event) -> str:
    return hashlib.sha256(json.dumps([event.tool, event.arguments], sort_keys=True).encode()).hexdigest()


def _source(entry: Mapping[str, Any], at: int) -> Mapping[str, Any]:
    text, kind = entry.get("text"), str(entry["heard"])
    source = {"sourceId": f"heard-{at}", "kind": f"SOURCE_KIND_{kind.upper()}", "digest": entry.get("digest", "")}
    if text is not None:
        data = str(text).encode("utf-8", "replace")
        source |= {"content": _base64(data), "digest": hashlib.sha256(data).hexdigest()}
    if "step" in entry:
        source |= {"tool": entry["tool"], "stepId": entry["step"]}
    return source


def _grant(answer: Mapping[str, Any], step: str, tool: str, digest: str) -> Mapping[str, Any]:
    """Return the grant by which exactly this use was allowed.

    Raises:
        HookError: there is none.
    """
    decision, receipt = _object(answer.get("decision")), _object(answer.get("receipt"))
    allowed = decision.get("mode") == "MODE_ENFORCE" and _outcome(answer) == "OUTCOME_ALLOW"
    if not allowed or not receipt.get("eventId"):
        raise HookError(_why(answer))
    for grant in answer.get("grants", ()):
        bound = (grant.get("stepId"), grant.get("tool"), grant.get("argumentsSha256"))
        unmet = [item.get("kind") for item in grant.get("obligations", ()) if item.get("kind") not in _MET]
        if bound == (step, tool, digest) and unmet:
            raise HookError(f"policy allows it only with {plain(unmet[0])!r}, which a hook cannot do")
        if bound == (step, tool, digest) and grant.get("redeemed") is True:
            return _object(grant)
    raise HookError("it is allowed, and there is no grant for exactly this use")


def _why(answer: Mapping[str, Any]) -> str:
    decision = _object(answer.get("decision"))
    remedies = dict.fromkeys(_object(found).get("remedy") for found in decision.get("findings", ()))
    parts = [plain(decision.get("explanation") or "it is denied")]
    return "\n".join([*parts, *(f"What would be acceptable: {plain(remedy)}" for remedy in remedies if remedy)])


def _how_to_ask(answer: Mapping[str, Any], approval_id: str) -> str:
    return (
        f"people have to approve it first: {plain(_object(answer.get('decision')).get('explanation'))}\n"
        f"Somebody who may: aisecops approvals approve {plain(approval_id)}\n"
        "When it is approved, use the tool again with the same arguments."
    )


def _outcome(answer: Mapping[str, Any]) -> Any:
    return _object(answer.get("decision")).get("outcome")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()
