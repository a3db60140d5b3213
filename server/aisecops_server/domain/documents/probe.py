"""Documents that every revision must answer rightly before it may decide anything, and the judgement of its answers.

A probe asks on behalf of a principal that no policy can know. Whatever a policy grants to agents it knows, an unknown
one must be denied, and denied by an answer: a revision that is silent on a document would be silent on a real one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aisecops_server.domain.decisions.decision import Outcome, Verdict, conclude
from aisecops_server.domain.documents.input_document import SCHEMA_VERSION
from aisecops_server.domain.errors import AisecopsError, BundleRejectedError, EngineUnavailableError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.plans.plan import StepId

# A space cannot stand in an agent's id, so that no table can grant anything to this one.
UNKNOWN_PRINCIPAL = "aisecops probe"
MAX_KNOWN_TOOLS = 64
_UNKNOWN_TOOL = "aisecops-probe/none"
_NOW: JsonValue = {"unix_seconds": 1_700_000_000, "rfc3339": "2023-11-14T22:13:20Z"}


@dataclass(frozen=True, slots=True)
class Probe:
    """One document, and the steps that its answer must decide."""

    name: str
    document: bytes
    step_ids: tuple[StepId, ...]


def probes(known_tools: Sequence[str] = ()) -> tuple[Probe, ...]:
    """Return the probes; up to ``MAX_KNOWN_TOOLS`` of ``known_tools`` are asked for as well, spread over all."""
    tools = [_UNKNOWN_TOOL, *known_tools[:: max(1, -(-len(known_tools) // MAX_KNOWN_TOOLS))]]
    by_tool = [_probe(f"an unknown agent calls {tool}", [_step("s1", tool)]) for tool in tools]
    return (
        *by_tool,
        _probe("an unknown agent without a name", [_step("s1", _UNKNOWN_TOOL)], principal=""),
        _probe("a plan of two steps", [_step("s1", _UNKNOWN_TOOL), _step("s2", _UNKNOWN_TOOL, depends_on=["s1"])]),
        _probe("a dependency on a step that is not there", [_step("s1", _UNKNOWN_TOOL, depends_on=["s9"])]),
        _probe("an influence that is not there", [_step("s1", _UNKNOWN_TOOL, influenced_by=["nowhere"])]),
        _probe("a tool without a name", [_step("s1", "")]),
        _probe("a dry run", [_step("s1", _UNKNOWN_TOOL)], mode="DRY_RUN"),
    )


def text_probe() -> Probe:
    """Return the probe about a text. A policy from before texts were screened has no answer to it."""
    document: dict[str, JsonValue] = {
        "schema_version": SCHEMA_VERSION,
        "kind": "screen",
        "mode": "ENFORCE",
        "now": _NOW,
        "principal": {"id": UNKNOWN_PRINCIPAL, "authenticated_by": "probe"},
        "trace": {"id": "0" * 32},
        "session": {"id": "probe"},
        "direction": "prompt",
        "hash": digest(b"probe"),
        "parts": [
            {
                "id": "s1",
                "kind": "user_prompt",
                "tool": "",
                "declared_trust": "",
                "characters": 0,
                "digest": digest(b""),
                "complete": True,
                "text": None,
                "detections": [],
            }
        ],
        "approvals": [],
    }
    return Probe("an unknown agent has a text screened", canonical_bytes(document), (StepId("s1"),))


def require_not_allowed(probe: Probe, verdict: Verdict | AisecopsError, *, revision: str) -> None:
    """Check an answer to a probe that a revision need not understand: whoever asks then gets no answer either.

    Raises:
        BundleRejectedError: the answer is a decision of this revision, and it does not deny.
        EngineUnavailableError: there is no answer, which says nothing about the revision.
    """
    if isinstance(verdict, EngineUnavailableError):
        raise verdict
    if isinstance(verdict, AisecopsError):
        return
    try:
        outcome = conclude(verdict, step_ids=probe.step_ids, expected_revision=revision).outcome
    except AisecopsError:
        return
    if outcome is not Outcome.DENY:
        raise _failed(probe, revision, f"the answer was {outcome}, and only DENY is right")


def require_denied(probe: Probe, verdict: Verdict | AisecopsError, *, revision: str) -> None:
    """Check one answer to a probe.

    Raises:
        BundleRejectedError: the answer is no decision of this revision, or it does not deny.
        EngineUnavailableError: there is no answer, which says nothing about the revision.
    """
    if isinstance(verdict, EngineUnavailableError):
        raise verdict
    try:
        if isinstance(verdict, AisecopsError):
            raise verdict
        outcome = conclude(verdict, step_ids=probe.step_ids, expected_revision=revision).outcome
    except AisecopsError as error:
        raise _failed(probe, revision, error.message) from error
    if outcome is not Outcome.DENY:
        raise _failed(probe, revision, f"the answer was {outcome}, and only DENY is right")


def _probe(name: str, steps: list[JsonValue], *, principal: str = UNKNOWN_PRINCIPAL, mode: str = "ENFORCE") -> Probe:
    document: dict[str, JsonValue] = {
        "schema_version": SCHEMA_VERSION,
        "mode": mode,
        "now": _NOW,
        "principal": {"id": principal, "authenticated_by": "probe"},
        "environment": "probe",
        "trace": {"id": "0" * 32, "parent_id": ""},
        "session": {"id": "probe"},
        "delegation": [],
        "request": {"known": False, "words": {}, "truncated": False},
        "plan": {"id": "probe", "hash": digest(name.encode()), "intent": "", "steps": steps},
        "sources": [],
        "grounding": {"complete": True, "unsearched": [], "truncated": False},
        "history": [],
        "usage": {
            "session_calls": 0,
            "subjects": {},
            "counters": {},
            "reported": {"input_tokens": 0, "output_tokens": 0, "models": {}},
        },
        "approvals": [],
    }
    return Probe(name, canonical_bytes(document), tuple(StepId(f"s{n + 1}") for n in range(len(steps))))


def _step(
    step_id: str, tool: str, *, depends_on: Sequence[str] = (), influenced_by: Sequence[str] = ()
) -> dict[str, JsonValue]:
    server, _, name = tool.partition("/")
    return {
        "id": step_id,
        "index": int(step_id[1:]) - 1,
        "tool": tool,
        "server": server,
        "name": name,
        "capability": "",
        "arguments": {},
        "depends_on": list(depends_on),
        "influenced_by": list(influenced_by),
        "values": [],
    }


def _failed(probe: Probe, revision: str, why: str) -> BundleRejectedError:
    return BundleRejectedError(
        f"the probe '{probe.name}' failed: {why}",
        hint="Take rego/aisecops/decision from the product's library; an unknown agent must always be denied",
        revision=revision,
        probe=probe.name,
    )
