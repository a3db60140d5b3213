"""An engine whose policy is limits alone: what does not fit into what the document says was used is denied."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.errors import AisecopsError

from tests.fakes.policy_engine import REVISION, FakeEngine
from tests.fakes.verdicts import whole


@dataclass(frozen=True)
class Limit:
    """How much of a metric a subject may have in a window; a step takes ``per_step``, reported tokens count whole."""

    subject: str
    metric: str
    window: str
    limit: int
    per_step: int = 1
    enforced: bool = True


@dataclass
class ChargingEngine(FakeEngine):
    """Denies by ``limits``, and lists them as charges. ``blind`` policy sees no usage, so only the ledger refuses."""

    limits: Sequence[Limit] = field(default_factory=lambda: (Limit("agent", "calls", "day", 3),))
    blind: bool = False

    async def evaluate(self, document: bytes, *, deadline_seconds: float) -> Verdict:
        self.documents.append(document)
        if self.failure is not None:
            raise self.failure
        return Verdict(self._judged(json.loads(document)), REVISION, "1.22.2", 1_234_567)

    async def evaluate_batch(
        self, documents: Sequence[bytes], *, deadline_seconds: float
    ) -> list[Verdict | AisecopsError]:
        return [await self.evaluate(document, deadline_seconds=deadline_seconds) for document in documents]

    def _judged(self, document: dict[str, Any]) -> dict[str, Any]:
        usage, steps = document["usage"], document["plan"]["steps"]
        charges = [_charge(limit, usage, steps) for limit in self.limits]
        findings = [_finding(charge, usage) for charge in charges if not self.blind and _is_too_much(charge, usage)]
        would = "DENY" if findings else "ALLOW"
        outcome = "DENY" if any(finding["effect"] == "deny" for finding in findings) else "ALLOW"
        return whole(
            {
                "outcome": outcome,
                "would_outcome": would,
                "mode": "enforce" if outcome == would else "observe",
                "findings": findings,
                "steps": [{"id": step["id"], "outcome": outcome} for step in steps],
                "charges": charges,
            }
        )


def _charge(limit: Limit, usage: dict[str, Any], steps: list[Any]) -> dict[str, Any]:
    taken = {step["id"]: limit.per_step for step in steps}
    tokens = usage["reported"]["input_tokens"] + usage["reported"]["output_tokens"]
    spent = tokens if limit.metric == "tokens" else 0
    return {
        "subject": limit.subject,
        "id": usage["subjects"][limit.subject],
        "metric": limit.metric,
        "window": limit.window,
        "amount": spent + sum(taken.values()),
        "spent": spent,
        "limit": limit.limit,
        "enforced": limit.enforced,
        "steps": taken,
    }


def _counter(charge: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
    key = f"{charge['subject']}:{charge['id']}/{charge['metric']}/{charge['window']}"
    return usage["counters"].get(key, {"used": 0, "reserved": 0, "frozen": False})


def _is_too_much(charge: dict[str, Any], usage: dict[str, Any]) -> bool:
    counter = _counter(charge, usage)
    return counter["frozen"] or counter["used"] + counter["reserved"] + charge["amount"] > charge["limit"]


def _finding(charge: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "rule": "budget.exhausted",
        "title": "Budget exhausted",
        "message": f"{charge['amount']} do not fit into {charge['limit']}",
        "effect": "deny" if charge["enforced"] else "warn",
        "would_effect": "deny",
        "severity": "high",
        "step": "",
        "facts": [{"pointer": "/usage/counters", "value": _counter(charge, usage)}],
        "remedy": "wait",
    }
