"""What waits for people: the inbox, one request with exactly what would run, and the answer to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aisecops.v1 import approval_pb2, decision_service_pb2
from aisecops.v1 import approval_service_pb2 as api

from aisecops_server.domain.display.words import approval_sign, bare, choice_sign
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.web.addresses import address
from aisecops_server.entrypoints.web.arguments import arguments
from aisecops_server.entrypoints.web.markup import json_lines
from aisecops_server.entrypoints.web.strips import trust_name
from aisecops_server.entrypoints.web.visitor import Away, Page, Visitor

PAGE = 50
_SHOWN = ("requested", "granted", "consumed", "rejected", "withdrawn", "expired", "all")
_STATES = {bare(name).lower(): number for name, number in approval_pb2.ApprovalState.items() if number}
_CHOICES: Mapping[str, approval_pb2.Choice.ValueType] = {
    "approve": approval_pb2.CHOICE_APPROVE,
    "deny": approval_pb2.CHOICE_DENY,
}

# Before the id of each request that is identical to the one on the page, in the form that answers them together.
_SEEN = "seen-"

# What the command asks for without being told, and for everything.
_NARROWED: Mapping[str, tuple[str, ...]] = {"requested": (), "all": ("--all",)}


async def inbox(visitor: Visitor) -> Page:
    """Show requests; those that wait stand in the order in which their time is over."""
    state = visitor.query("state") or "requested"
    if state not in _STATES and state != "all":
        raise InvalidRequestError(f"state is one of all, {', '.join(_STATES)}", field="state")
    request = api.ListApprovalsRequest(
        page_size=PAGE, page_token=visitor.query("before"), states=[_STATES[state]] if state in _STATES else []
    )
    found = await visitor.ask("ApprovalService/ListApprovals", request, api.ListApprovalsResponse)
    requests = list(found.approvals)
    if state == "requested":
        requests.sort(key=lambda one: one.expires_at.seconds)
    groups = _groups(requests)
    view = {
        "groups": groups,
        "states": [(name, address("/approvals", state=name), name == state) for name in _SHOWN],
        "state": state,
        "more": address("/approvals", state=state, before=found.next_page_token) if found.next_page_token else "",
        "sign": lambda one: approval_sign(approval_pb2.ApprovalState.Name(one.state)),
        "waits": lambda one: one.state == approval_pb2.APPROVAL_STATE_REQUESTED,
    }
    narrowed = _NARROWED.get(state, ("--state", state))
    command = ("approvals", "list", *narrowed)
    data = {"page": found, "groups": [[one.approval_id for one in group] for group in groups]}
    return Page("approvals.html", "Approvals", view, data, "Approvals", command=command)


def _groups(requests: Sequence[approval_pb2.Approval]) -> list[list[approval_pb2.Approval]]:
    """Return requests that wait and are identical together, where the first of them stands; each other one alone."""
    groups: dict[tuple[str, str], list[approval_pb2.Approval]] = {}
    for one in requests:
        alike = one.hash_class and one.state == approval_pb2.APPROVAL_STATE_REQUESTED
        groups.setdefault((one.agent_id, one.hash_class) if alike else ("", one.approval_id), []).append(one)
    return list(groups.values())


async def request_page(visitor: Visitor) -> Page:
    """Show one request with exactly what people are asked to agree to."""
    asked = api.GetApprovalRequest(approval_id=visitor.path("approval"))
    found = await visitor.ask("ApprovalService/GetApproval", asked, api.GetApprovalResponse)
    statement = orjson.loads(found.statement_json)
    trust_of = {source.source_id: trust_name(source.trust) for source in found.decision.sources}
    seen = await _seen(visitor, found.decision.decision_id)
    waits = found.approval.state == approval_pb2.APPROVAL_STATE_REQUESTED
    view = {
        "approval": found.approval,
        "decision": found.decision,
        "statement": statement,
        "steps": [
            (one["id"], one["tool"], arguments({**seen.get(one["id"], {}), **one}, trust_of))
            for one in statement["steps"]
        ],
        "sign": approval_sign(approval_pb2.ApprovalState.Name(found.approval.state)),
        "votes": [(vote, choice_sign(approval_pb2.Choice.Name(vote.choice))) for vote in found.approval.votes],
        "past": [(one, choice_sign(approval_pb2.Choice.Name(one.vote.choice))) for one in found.past_answers],
        "identical": found.identical if waits and visitor.may("ApprovalService/VoteTogether") else (),
        "seen": _SEEN,
        "caller": found.caller,
        "waits": waits,
        "agreed": sum(1 for vote in found.approval.votes if vote.choice == approval_pb2.CHOICE_APPROVE),
        "json": json_lines,
    }
    data, command = {"request": found, "statement": statement}, ("approvals", "show", found.approval.approval_id)
    return Page("approval.html", "Approval", view, data, "Approvals", command=command)


async def _seen(visitor: Visitor, decision_id: str) -> Mapping[str, Mapping[str, Any]]:
    """Return for each step where the values of its arguments were seen, as the input document has it."""
    request = decision_service_pb2.ExplainRequest(decision_id=decision_id)
    found, _ = await visitor.attempt("DecisionService/Explain", request, decision_service_pb2.ExplainResponse)
    document = orjson.loads(found.document_json) if found else {}
    return {str(step["id"]): {"values": step["values"]} for step in document.get("plan", {}).get("steps", [])}


async def vote(visitor: Visitor) -> Away | Page:
    """Answer a request, naming exactly the statement that was on the screen, or it and those identical to it."""
    if "together" in visitor.form:
        return await _vote_together(visitor)
    choice = visitor.form.get("choice", "")
    if choice not in _CHOICES:
        raise InvalidRequestError("choice: must be approve or deny", field="choice")
    request = api.VoteRequest(
        approval_id=visitor.path("approval"),
        choice=_CHOICES[choice],
        note=_note(visitor),
        statement_digest=visitor.form.get("statement", ""),
    )
    await visitor.ask("ApprovalService/Vote", request, api.VoteResponse)
    return Away(f"/approvals/{request.approval_id}")


def _note(visitor: Visitor) -> str:
    # Forms end lines by two characters, of which people typed one.
    return visitor.form.get("note", "").replace("\r\n", "\n")


async def _vote_together(visitor: Visitor) -> Page:
    """Answer the requests that the form names, each with its statement, and show what became of each.

    That is told once, in the answer to the form: whoever sends it again is told that all of it was answered before.
    """
    choice = visitor.form["together"]
    if choice not in _CHOICES:
        raise InvalidRequestError("together: must be approve or deny", field="together")
    others = {name.removeprefix(_SEEN): digest for name, digest in visitor.form.items() if name.startswith(_SEEN)}
    seen = {visitor.path("approval"): visitor.form.get("statement", ""), **others}
    request = api.VoteTogetherRequest(
        choice=_CHOICES[choice],
        note=_note(visitor),
        seen=[api.SeenApproval(approval_id=name, statement_digest=digest) for name, digest in seen.items()],
    )
    found = await visitor.ask("ApprovalService/VoteTogether", request, api.VoteTogetherResponse)
    view = {
        "answered": found.answered,
        "choice": choice,
        "note": request.note,
        "counted": sum(1 for one in found.answered if not one.reason),
        "sign": lambda one: approval_sign(approval_pb2.ApprovalState.Name(one.state)),
        "said": lambda one: choice_sign(approval_pb2.Choice.Name(one.choice)),
    }
    return Page("answered.html", "Answered", view, {"answered": found}, "Approvals", at="/approvals")


async def withdraw(visitor: Visitor) -> Away:
    """Take a request back."""
    request = api.WithdrawRequest(approval_id=visitor.path("approval"), note=_note(visitor))
    await visitor.ask("ApprovalService/Withdraw", request, api.WithdrawResponse)
    return Away(f"/approvals/{request.approval_id}")
