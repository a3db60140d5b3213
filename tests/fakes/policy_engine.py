"""An engine with a tiny policy: `delete` is denied, `pay` needs approval, `crash` crashes, the rest may run.

An approval that enough people gave lifts the demands that they saw.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aisecops_server.domain.bundles.bundle import Bundle, BundleDigest, CommitId, RuleDoc
from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.errors import AisecopsError, UnknownRevisionError

from tests.fakes.verdicts import DEMAND, whole

REVISION = "a" * 40
RULE = RuleDoc("fake.tool", "Tool", "Says no.", "deny", "high", "nobody", "rego/fake/tool.rego", 7)
_EFFECTS = {"delete": "deny", "pay": "require_approval"}
_OUTCOMES = {"deny": "DENY", "require_approval": "REQUIRE_APPROVAL"}


_NOTIFY = {"kind": "notify", "step": "", "parameters": {"channel": "ops", "share": 0.5}}


def fake_bundle() -> Bundle:
    fields: dict[str, Any] = {
        "revision": CommitId(REVISION),
        "digest": BundleDigest("b" * 64),
        "archive": Path("/nowhere"),
        "rules": (RULE,),
    }
    return Bundle(**fields)


@dataclass
class FakeEngine:
    """Evaluates at once, or fails with ``failure``. Remembers the documents it saw."""

    failure: Exception | None = None
    bundle: Bundle = field(default_factory=fake_bundle)
    documents: list[bytes] = field(default_factory=list)
    demand: dict[str, Any] = field(default_factory=dict)
    obligations: list[dict[str, Any]] = field(default_factory=lambda: [dict(_NOTIFY)])
    effects: dict[str, str] = field(default_factory=lambda: dict(_EFFECTS))

    async def evaluate(self, document: bytes, *, deadline_seconds: float) -> Verdict:
        self.documents.append(document)
        if self.failure is not None:
            raise self.failure
        return Verdict(self._result(json.loads(document)), self.bundle.revision, "1.22.2", 1_234_567)

    async def evaluate_batch(
        self, documents: Sequence[bytes], *, deadline_seconds: float
    ) -> list[Verdict | AisecopsError]:
        return [await self.evaluate(document, deadline_seconds=deadline_seconds) for document in documents]

    async def explain(self, document: bytes, *, deadline_seconds: float) -> str:
        return "query:1 | Enter data.aisecops.decision.decision\n"

    def current(self) -> FakeEngine:
        return self

    async def engine_at(self, revision: str) -> FakeEngine:
        if revision != REVISION:
            raise UnknownRevisionError("no such revision", revision=revision)
        return self

    def _result(self, document: dict[str, Any]) -> dict[str, Any]:
        steps = document["plan"]["steps"]
        if any(step["name"] == "crash" for step in steps):
            raise RuntimeError("secret of the house")
        demand = {**DEMAND, **self.demand}
        approvals = [item for item in document["approvals"] if len(item["approvers"]) >= demand["approvers_required"]]
        seen = [found for item in approvals for found in item["findings"]]
        findings = [_finding(step, self.effects[step["name"]], seen) for step in steps if step["name"] in self.effects]
        held = {found["step"]: _OUTCOMES[found["effect"]] for found in findings if found["effect"] != "warn"}
        outcome = next((outcome for outcome in ("DENY", "REQUIRE_APPROVAL") if outcome in held.values()), "ALLOW")
        waiting = [step["id"] for step in steps if held.get(step["id"]) == "REQUIRE_APPROVAL"]
        return whole(
            {
                "outcome": outcome,
                "findings": findings,
                "steps": [
                    {
                        "id": step["id"],
                        "outcome": held.get(step["id"], "ALLOW"),
                        "capability": "cap",
                        "granted_by": "team-a",
                        "grant": f"{document['principal']['id']}#cap",
                    }
                    for step in steps
                ],
                "obligations": self.obligations,
                "sources": [{"id": source["id"], "trust": "external"} for source in document["sources"]],
                "risk_score_milli": 100 * len(steps),
                "approval": {**demand, "steps": waiting} if outcome == "REQUIRE_APPROVAL" else None,
                "approved_by": approvals[0]["id"] if any(item["effect"] == "warn" for item in findings) else "",
            }
        )


def _finding(step: dict[str, Any], effect: str, seen: list[dict[str, str]]) -> dict[str, Any]:
    lifted = effect == "require_approval" and {"rule": "fake.tool", "step": step["id"]} in seen
    return {
        "rule": "fake.tool",
        "title": "Tool",
        "message": f"{step['tool']} may not run",
        "effect": "warn" if lifted else effect,
        "severity": "high",
        "step": step["id"],
        "facts": [{"pointer": "/plan/steps/0/tool", "value": {"tool": step["tool"], "share": 1.0}}],
        "remedy": "ask somebody",
    }
