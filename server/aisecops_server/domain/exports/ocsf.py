"""Events of the log as events of the Open Cybersecurity Schema Framework, version 1.8.0 (schema.ocsf.io), one a line.

Every event becomes API Activity (6003) with the Security Control profile: who asked what of the control plane, and what
became of it. Findings that ask for more than a remark, and incidents, also become a Detection Finding (2004) each. What
the schema has no attribute for stands in ``unmapped``. Tests validate against the published schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aisecops_server.domain.events.event import CONCLUDED
from aisecops_server.domain.exports.record import Exported
from aisecops_server.domain.formats.canonical import JsonValue

VERSION = "1.8.0"
VENDOR = "AISecOps"
_PROFILE = "security_control"
_API_ACTIVITY, _DETECTION_FINDING, _COMPLIANCE_FINDING = 6003, 2004, 2003
_APPLICATION, _FINDINGS = 6, 2
_OTHER, _CREATE = 99, 1
_SUCCESS, _FAILURE = 1, 2
_SERVICE_USER, _PERSON_USER = 4, 1
_RULE_ANALYTIC = 1
_SEVERITIES = {"": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
_SEVERITY_NAMES = {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}
# (action, disposition): what the control did, in the words of the schema.
_CONTROL = {
    "ALLOW": (1, 1, "Allowed", "Allowed"),
    "DENY": (2, 2, "Denied", "Blocked"),
    "REQUIRE_APPROVAL": (2, 14, "Denied", "Delayed"),
}
_REFUSED = ("refused", "rejected", "revoked", "vote_refused")
_COUNTED = ("deny", "require_approval")
_STATUS = {
    "HOLDS": (1, "Pass"),
    "FAILS": (3, "Fail"),
    "NOT_CHECKED": (0, "Unknown"),
    "NOT_COVERED": (99, "Not covered"),
}


def ocsf_events(item: Exported) -> Iterator[dict[str, JsonValue]]:
    """Yield what one event of the log is to a SIEM, the activity first."""
    yield _activity(item)
    for finding in _parts(item.details.get("findings")):
        if finding.get("effect") in _COUNTED:
            yield _detection(item, finding)
    if item.stored.event.type.startswith("incident."):
        yield _detection(item, {**item.details, "rule": item.stored.event.type, "effect": "incident"})


def ocsf_compliance(report: Mapping[str, Any], *, time_ms: int, producer: str) -> Iterator[dict[str, JsonValue]]:
    """Yield one Compliance Finding (2003) for each requirement of a compliance report as JSON."""
    for framework in report["frameworks"]:
        for row in framework["requirements"]:
            status, name = _STATUS[row["state"]]
            uid = f"{report['revision']}/{framework['framework']}/{row['id']}"
            severity = _SEVERITIES["high" if row["state"] == "FAILS" else ""]
            yield {
                **_base(_COMPLIANCE_FINDING, _FINDINGS, _CREATE, time_ms=time_ms, severity=severity),
                "metadata": _metadata(producer, uid, profiles=[]),
                "finding_info": {
                    "uid": uid,
                    "title": f"{row['id']} {row['title']}",
                    "desc": "; ".join(row["problems"]) or str(row["how"] or row["gap"]),
                },
                "compliance": {
                    "standards": [f"{framework['title']} {framework['edition']}"],
                    "requirements": [str(row["id"])],
                    "control": str(row["title"]),
                    "status_id": status,
                    "status": name,
                    "status_details": [*map(str, row["problems"]), *([str(row["gap"])] if row["gap"] else [])],
                },
                "resources": [{"uid": str(report["revision"]), "type": "policy commit", "name": "policy"}],
            }


def _activity(item: Exported) -> dict[str, JsonValue]:
    event = item.stored.event
    outcome = str(item.details.get("outcome", ""))
    refused = event.type.rpartition(".")[2] in _REFUSED
    action, disposition, action_name, disposition_name = _CONTROL.get(
        outcome if event.type == CONCLUDED else "", (_OTHER, _OTHER, "Other", event.type)
    )
    worst = max((_severity(finding) for finding in _parts(item.details.get("findings"))), default=1)
    return {
        **_base(_API_ACTIVITY, _APPLICATION, _OTHER, time_ms=_time_ms(item), severity=worst),
        "activity_name": event.type,
        "action_id": action,
        "action": action_name,
        "disposition_id": disposition,
        "disposition": disposition_name,
        "status_id": _FAILURE if refused else _SUCCESS,
        "status": "Failure" if refused else "Success",
        "metadata": _event_metadata(item, "0"),
        "actor": {"user": _user(item)},
        "api": {
            "operation": event.type,
            "service": {"name": "aisecops"},
            "request": {"uid": event.decision_id or event.id},
        },
        "src_endpoint": {"name": item.principal or "control plane"},
        **_policy(item),
        "unmapped": _unmapped(item),
    }


def _detection(item: Exported, finding: Mapping[str, Any]) -> dict[str, JsonValue]:
    rule, step = str(finding.get("rule", "")), str(finding.get("step", ""))
    outcome = {"deny": "DENY", "require_approval": "REQUIRE_APPROVAL"}.get(str(finding.get("effect")), "")
    action, disposition, action_name, disposition_name = _CONTROL.get(outcome, (3, 15, "Observed", "Detected"))
    uid = "/".join(part for part in (item.stored.event.id, rule, step) if part)
    remedy = str(finding.get("remedy", ""))
    return {
        **_base(_DETECTION_FINDING, _FINDINGS, _CREATE, time_ms=_time_ms(item), severity=_severity(finding)),
        "activity_name": "Create",
        "action_id": action,
        "action": action_name,
        "disposition_id": disposition,
        "disposition": disposition_name,
        "is_alert": True,
        "metadata": _event_metadata(item, uid),
        "finding_info": {
            "uid": uid,
            "title": str(finding.get("title", "")) or rule,
            **({"desc": str(finding["message"])} if finding.get("message") else {}),
            "analytic": {"type_id": _RULE_ANALYTIC, "type": "Rule", "name": rule, "uid": rule},
            "created_time": _time_ms(item),
        },
        "resources": [{"uid": item.principal or "control plane", "type": "agent"}],
        **({"remediation": {"desc": remedy}} if remedy else {}),
        **_policy(item),
        "unmapped": {**_unmapped(item), "step": step},
    }


def _base(class_uid: int, category: int, activity: int, *, time_ms: int, severity: int) -> dict[str, JsonValue]:
    return {
        "class_uid": class_uid,
        "category_uid": category,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
        "time": time_ms,
        "severity_id": severity,
        "severity": _SEVERITY_NAMES[severity],
    }


def _event_metadata(item: Exported, uid: str) -> dict[str, JsonValue]:
    event = item.stored.event
    return {
        **_metadata(item.producer, event.id if uid == "0" else uid, profiles=[_PROFILE]),
        "event_code": event.type,
        "sequence": item.stored.index,
        "log_name": item.origin,
        "original_time": item.time,
        **({"correlation_uid": event.trace_id} if event.trace_id else {}),
    }


def _metadata(producer: str, uid: str, *, profiles: list[str]) -> dict[str, JsonValue]:
    return {
        "version": VERSION,
        "uid": uid,
        "profiles": list(profiles),
        "product": {"name": "AISecOps", "vendor_name": VENDOR, "version": producer},
    }


def _policy(item: Exported) -> dict[str, JsonValue]:
    revision = str(item.details.get("bundle_revision", ""))
    return {"policy": {"uid": revision, "name": "policy", "version": revision}} if revision else {}


def _user(item: Exported) -> dict[str, JsonValue]:
    kind = _PERSON_USER if "@" in item.principal else _SERVICE_USER
    return {"uid": item.principal or "control plane", "type_id": kind}


def _unmapped(item: Exported) -> dict[str, JsonValue]:
    event = item.stored.event
    return {
        "stage": event.stage.value,
        "plan_id": event.plan_id,
        "decision_id": event.decision_id,
        "leaf_hash": item.stored.leaf_hash.hex(),
        "details": dict(item.details),
    }


def _severity(finding: Mapping[str, Any]) -> int:
    return _SEVERITIES.get(str(finding.get("severity", "")), 1)


def _time_ms(item: Exported) -> int:
    return item.stored.event.occurred_at_ns // 1_000_000


def _parts(value: object) -> list[Mapping[str, Any]]:
    return [part for part in value if isinstance(part, Mapping)] if isinstance(value, (list, tuple)) else []
