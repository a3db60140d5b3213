"""The data behind every page is the API's own, and says the same as the page and as the API."""

from __future__ import annotations

import base64
import html
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter

import pytest
from aisecops.v1.audit_service_pb2 import (
    TRACE_VIEW_OUTLINE,
    TRACE_VIEW_UNSPECIFIED,
    GetTraceRequest,
    GetTraceResponse,
    TraceView,
)
from aisecops.v1.audit_service_pb2_grpc import AuditServiceStub
from aisecops_server.entrypoints.web.strips import step_rows
from aisecops_server.entrypoints.web.trace_page import deciding
from google.protobuf.json_format import MessageToDict
from grpc import RpcError, aio

from tests.scenes.planes.ui_scene import Scene


async def _trace(scene: Scene, trace_id: str):
    async with scene.client() as client:
        return await client.trace(trace_id)


def test_the_twin_of_a_trace_is_what_the_api_answers(scene: Scene) -> None:
    for trace_id in scene.traces.values():
        found = json.loads(scene.get(f"/traces/{trace_id}.json")[2])
        asked = scene.run(_trace(scene, trace_id))
        assert found["trace"] == MessageToDict(asked, always_print_fields_with_no_presence=True)


async def _read(scene: Scene, trace_id: str, view: TraceView.ValueType) -> GetTraceResponse:
    async with aio.insecure_channel(scene.socket) as channel:
        stub = AuditServiceStub(channel)
        asked = GetTraceRequest(trace_id=trace_id, view=view)
        return await stub.GetTrace(asked, metadata=[("authorization", f"Bearer {scene.token()}")])


def test_the_rows_of_a_trace_are_the_same_from_its_outline(scene: Scene) -> None:
    for trace_id in scene.traces.values():
        whole = scene.run(_read(scene, trace_id, TRACE_VIEW_UNSPECIFIED))
        outline = scene.run(_read(scene, trace_id, TRACE_VIEW_OUTLINE))
        assert (outline.summary, step_rows(outline)) == (whole.summary, step_rows(whole))
        assert len(step_rows(whole)) > 0
        assert deciding(outline) == deciding(whole)
        assert [(one.event_id, one.log_index, one.stage, one.type) for one in outline.events] == [
            (one.event_id, one.log_index, one.stage, one.type) for one in whole.events
        ]
        # What no row says is not there: no word of anybody, but in the one decision that the page is about.
        assert not any(event.payload or event.leaf_hash for event in outline.events)
        shown = {event.type for event in outline.events if event.body_json}
        assert "plan.received" in shown
        assert "decision.concluded" not in shown


def test_a_view_that_is_none_is_refused(scene: Scene) -> None:
    trace_id = next(iter(scene.traces.values()))
    with pytest.raises(RpcError, match="view: 7 is none"):
        scene.run(_read(scene, trace_id, 7))  # type: ignore[arg-type]


def test_an_event_is_shown_byte_for_byte(scene: Scene) -> None:
    asked = scene.run(_trace(scene, scene.traces["swapped-account"]))
    for event in asked.events:
        address = f"/traces/{event.trace_id}/events/{event.event_id}"
        found = json.loads(scene.get(f"{address}.json")[2])["event"]
        assert base64.b64decode(found["bodyJson"]) == event.body_json
        assert found["leafHash"] in scene.get(f"{address}?tab=integrity")[2].decode()


def test_the_list_holds_every_trace_and_a_query_narrows_it(scene: Scene) -> None:
    every = json.loads(scene.get("/traces.json")[2])["page"]["traces"]
    blocked = json.loads(scene.get("/traces.json?q=outcome:blocked")[2])["page"]["traces"]
    assert {trace["traceId"] for trace in every} == set(scene.traces.values())
    assert {trace["traceId"] for trace in blocked} == {
        trace["traceId"] for trace in every if trace["outcome"] == "DENY"
    }
    assert 0 < len(blocked) < len(every)


def test_each_value_says_how_many_traces_it_leaves(scene: Scene) -> None:
    every = json.loads(scene.get("/traces.json")[2])
    traces = every["page"]["traces"]
    assert (every["facets"]["counted"], every["facets"]["whole"]) == (len(traces), True)
    told = {
        facet["field"]: {one["value"]: one["count"] for one in facet["values"]} for facet in every["facets"]["facets"]
    }
    assert told["outcome"] == Counter(trace["outcome"] for trace in traces)
    assert told["tool"] == Counter(tool for trace in traces for tool in trace["tools"])
    page = scene.get("/traces?q=outcome:blocked")[2].decode()
    # What else could be asked for is counted too, and a value leads to the list that it narrows.
    assert re.search(rf'allowed <span class="dim">{told["outcome"]["ALLOW"]}</span></a>', page)
    blocked = json.loads(scene.get("/traces.json?q=outcome:blocked")[2])["page"]["traces"]
    rule, count = Counter(rule for trace in blocked for rule in trace["rules"]).most_common(1)[0]
    link = re.search(rf'href="([^"]+)"[^>]*>{rule} <span class="dim">{count}</span></a>', page)
    assert link
    path, _, rest = html.unescape(link[1]).partition("?")
    assert len(json.loads(scene.get(f"{path}.json?{rest}")[2])["page"]["traces"]) == count
    assert json.loads(scene.get("/traces.json?counts=no")[2])["facets"] is None


def test_where_nothing_matches_each_term_says_how_many_it_hides(scene: Scene) -> None:
    traces = json.loads(scene.get("/traces.json")[2])["page"]["traces"]
    blocked = [trace for trace in traces if trace["outcome"] == "DENY"]
    page = scene.get("/traces?q=outcome:blocked+tool:nothing/*+-rule:nothing")[2].decode()
    hides = {
        html.unescape(term): count for term, count in re.findall(r">([^<>]+) ✕</a> <span>hides ([\d,]+\+?)<", page)
    }
    assert hides == {"outcome:blocked": "0", "tool:nothing/*": str(len(blocked)), "-rule:nothing": "0"}
    many = "+".join(["outcome:blocked", "plans:>1000", *(f"-tool:{at}" for at in range(9))])
    page = scene.get(f"/traces?q={many}")[2].decode()
    assert (page.count("<span>hides "), "Of the other terms it was not counted" in page) == (8, True)


def test_a_query_that_cannot_be_read_shows_nothing_and_names_the_word(scene: Scene) -> None:
    status, _, body = scene.get("/traces.json?q=outcom:blocked")
    found = json.loads(body)
    assert status == 400
    assert "outcom:blocked" in found["problem"]
    assert found["page"]["traces"] == []
    assert "outcom:blocked" in scene.get("/traces?q=outcom:blocked")[2].decode()


def test_a_trace_that_is_not_there_is_not_found(scene: Scene) -> None:
    missing = "0" * 32
    assert scene.get(f"/traces/{missing}")[0] == 404
    assert scene.get(f"/traces/{missing}.json")[0] == 404
    assert scene.get("/traces/nonsense")[0] == 400
    trace_id = scene.traces["answer-ticket"]
    assert scene.get(f"/traces/{trace_id}/events/evt-nothing")[0] == 404
    assert scene.get(f"/traces/{trace_id}?view=nothing")[0] == 400
    assert scene.get(f"/traces/{trace_id}?start=-1")[0] == 400


def test_the_flips_of_a_replay_are_given_to_other_programs(scene: Scene) -> None:
    address = f"/replays/{scene.replayed('approvals.tools.crm/issue_refund.amount_over=50')}"
    groups = json.loads(scene.get(f"{address}.json")[2])["groups"]["groups"]
    status, headers, body = scene.get(f"{address}/report.junit.xml")
    suite = ET.fromstring(body.decode())
    assert (status, headers["content-type"]) == (200, "application/xml")
    assert int(suite.attrib["tests"]) == len(groups) + 1 > 1
    [clause] = groups[0]["clauses"]
    assert clause["subject"] == "approvals.tools.crm/issue_refund.amount_over"
    told = scene.get(f"{address}/report.md")[2].decode()
    assert f"`{clause['subject']} = 50`" in told
