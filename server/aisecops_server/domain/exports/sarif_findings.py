"""What policy found in traces as SARIF 2.1.0 (OASIS): one result a finding, at the step of the plan that it is about.

A plan is no file, so results have logical locations: the decision, and in it the step. The policy commit that decided
stands in the run's properties and in each result. Tests validate against the published schema.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aisecops_server.domain.events.event import CONCLUDED
from aisecops_server.domain.exports.record import Exported
from aisecops_server.domain.formats.canonical import JsonValue

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"deny": "error", "require_approval": "warning", "warn": "note"}


def sarif_log(items: Sequence[Exported]) -> dict[str, JsonValue]:
    """Return the findings of all decisions among the events of traces, as one run."""
    found = [
        (item, finding)
        for item in items
        if item.stored.event.type == CONCLUDED
        for finding in item.details.get("findings", ())
    ]
    rules = sorted({str(finding["rule"]) for _, finding in found})
    places = {rule: at for at, rule in enumerate(rules)}
    about = {str(finding["rule"]): finding for _, finding in found}
    producer = items[0].producer if items else ""
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "AISecOps",
                        "semanticVersion": producer or "0.0.0",
                        "rules": [_rule(rule, about[rule]) for rule in rules],
                    }
                },
                "results": [_result(item, finding, places) for item, finding in found],
                "properties": {"policyRevisions": _revisions(items)},
            }
        ],
    }


def _rule(rule: str, finding: Mapping[str, Any]) -> JsonValue:
    return {
        "id": rule,
        "shortDescription": {"text": str(finding["title"]) or rule},
        "defaultConfiguration": {"level": _LEVELS.get(str(finding["effect"]), "note")},
        "properties": {"severity": str(finding["severity"])},
    }


def _result(item: Exported, finding: Mapping[str, Any], places: Mapping[str, int]) -> JsonValue:
    event, rule, step = item.stored.event, str(finding["rule"]), str(finding["step"])
    where = f"{event.trace_id}/{event.decision_id}"
    locations: list[JsonValue] = [{"name": event.decision_id, "fullyQualifiedName": where, "kind": "decision"}]
    if step:
        locations.append({"name": step, "fullyQualifiedName": f"{where}/{step}", "kind": "step"})
    return {
        "ruleId": rule,
        "ruleIndex": places[rule],
        "level": _LEVELS.get(str(finding["effect"]), "note"),
        # The message is payload, which may have been left out; a result must say something.
        "message": {"text": str(finding["message"]) or str(finding["title"]) or rule},
        "locations": [{"logicalLocations": locations}],
        "partialFingerprints": {"finding/v1": _fingerprint(event.decision_id, rule, step)},
        "properties": {
            "traceId": event.trace_id,
            "decisionId": event.decision_id,
            "agentId": item.principal,
            "outcome": str(item.details.get("outcome", "")),
            "policyRevision": str(item.details.get("bundle_revision", "")),
            "logIndex": item.stored.index,
        },
    }


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _revisions(items: Iterable[Exported]) -> Sequence[JsonValue]:
    return sorted({str(item.details["bundle_revision"]) for item in items if "bundle_revision" in item.details})
