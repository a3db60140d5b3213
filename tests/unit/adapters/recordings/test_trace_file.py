"""Trace files are read strictly where it matters: sizes, lines, identities; and blindly past what is unknown."""

from __future__ import annotations

import gzip
import json

import pytest
from aisecops_server.adapters.recordings.tool_servers import ToolServers
from aisecops_server.adapters.recordings.trace_file import RecordingFile, TraceFileLimits
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.plans.provenance import SourceKind

TRACE = "ab" * 16
SERVERS = ToolServers(otherwise="desk")


def text(value):
    return {"stringValue": value}


def attribute(key, value):
    return {"key": key, "value": value}


def span(operation, *attributes, **parts):
    return {
        "traceId": TRACE,
        "spanId": "s1",
        "startTimeUnixNano": "5",
        "attributes": [attribute("gen_ai.operation.name", text(operation)), *attributes],
        **parts,
    }


def call(tool="find", arguments='{"q": 1}', **parts):
    attributes = [attribute("gen_ai.tool.name", text(tool))]
    attributes.append(attribute("gen_ai.tool.call.arguments", text(arguments)))
    if "result" in parts:
        attributes.append(attribute("gen_ai.tool.call.result", parts.pop("result")))
    if "server" in parts:
        attributes.append(attribute("aisecops.tool.server", text(parts.pop("server"))))
    return span("execute_tool", *attributes, **parts)


def agent(*attributes):
    return span("invoke_agent", attribute("gen_ai.agent.id", text("agent-1")), *attributes, spanId="s0")


def request(*spans):
    resource = {"attributes": [attribute("deployment.environment.name", text("production"))]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


def written(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def read(path, servers=SERVERS, **limits):
    return list(RecordingFile(path, servers, TraceFileLimits(**limits)).read())


def test_prompts_calls_and_results_of_a_trace_are_read(tmp_path):
    messages = [
        {"role": "system", "parts": [{"type": "text", "content": "be kind"}]},
        {"role": "user", "parts": [{"type": "text", "content": "find it"}]},
        {"role": "assistant", "parts": [{"type": "text", "content": "sure"}]},
    ]
    line = request(agent(attribute("gen_ai.input.messages", text(json.dumps(messages)))), call(result=text("found")))
    (trace,) = read(written(tmp_path / "t.jsonl", line))
    assert (trace.trace_id, trace.agent_id, trace.environment) == (TRACE, "agent-1", "production")
    assert [(prompt.kind, prompt.text) for prompt in trace.prompts] == [
        (SourceKind.SYSTEM_PROMPT, "be kind"),
        (SourceKind.USER_PROMPT, "find it"),
    ]
    assert [(one.tool, one.arguments_json, one.result) for one in trace.calls] == [("desk/find", '{"q": 1}', "found")]


def test_calls_stand_in_the_order_in_which_they_started(tmp_path):
    line = request(call(spanId="b", startTimeUnixNano="9"), call(spanId="a", startTimeUnixNano=3))
    (trace,) = read(written(tmp_path / "t.jsonl", line))
    assert [one.span_id for one in trace.calls] == ["a", "b"]


def test_structured_attributes_are_read_as_text_is(tmp_path):
    held = {"kvlistValue": {"values": [attribute("n", {"intValue": "7"}), attribute("b", {"boolValue": True})]}}
    line = request(call(result=held))
    (trace,) = read(written(tmp_path / "t.jsonl", line))
    assert json.loads(trace.calls[0].result) == {"n": 7, "b": True}


def test_unknown_attributes_and_spans_are_passed_over(tmp_path):
    line = request(span("chat", attribute("vendor.thing", {"arrayValue": {}})), call())
    (trace,) = read(written(tmp_path / "t.jsonl", line, ""))
    assert len(trace.calls) == 1


def test_gzip_is_told_by_its_content(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(gzip.compress(json.dumps(request(call())).encode()))
    assert len(read(path)) == 1


@pytest.mark.parametrize(
    ("servers", "parts", "tool"),
    [
        (ToolServers({"agent-1": "crm"}, "desk"), {}, "desk/find"),
        (ToolServers({}, "desk"), {"server": "crm"}, "crm/find"),
        (ToolServers({}, "desk"), {"tool": "crm/find"}, "crm/find"),
    ],
)
def test_the_server_of_a_tool_is_told_never_guessed(tmp_path, servers, parts, tool):
    (trace,) = read(written(tmp_path / "t.jsonl", request(call(**parts))), servers)
    assert trace.calls[0].tool == tool


def test_an_agents_server_qualifies_its_tools(tmp_path):
    named = call()
    named["attributes"].append(attribute("gen_ai.agent.name", text("helper")))
    (trace,) = read(written(tmp_path / "t.jsonl", request(named)), ToolServers({"helper": "crm"}))
    assert trace.calls[0].tool == "crm/find"


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        request(call(arguments='{"q": "\ud800"}')),
        request(call(spanId="\udfff")),
        "[]",
        '{"resourceSpans": 1}',
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        "[" * 100_000,
        request(call(traceId="xyz")),
        request(call(spanId="")),
        request(call(startTimeUnixNano=True)),
        request(call(result={"intValue": "many"})),
        request(call(result={"stringValue": "a", "intValue": 1})),
        request(call(tool="")),
        request(span("execute_tool", attribute("gen_ai.tool.name", {"intValue": 1}))),
        request(agent(attribute("gen_ai.input.messages", text("no json")))),
        request(agent(attribute("gen_ai.input.messages", text('[{"role": "user", "parts": [{"content": 1}]}]')))),
    ],
)
def test_a_malformed_line_is_named_by_its_number(tmp_path, bad):
    path = written(tmp_path / "t.jsonl", request(call()), bad)
    with pytest.raises(InvalidRequestError) as refused:
        read(path)
    assert refused.value.metadata()["line"] == "2"
    assert "line 2" in refused.value.message


def test_a_tool_without_a_server_is_refused_with_its_name(tmp_path):
    with pytest.raises(InvalidRequestError, match=r"'find'.*names no server"):
        read(written(tmp_path / "t.jsonl", request(call())), ToolServers())


def test_a_line_beyond_the_limit_is_refused_before_it_is_parsed(tmp_path):
    with pytest.raises(InvalidRequestError, match="line 1 is longer than 64 bytes"):
        read(written(tmp_path / "t.jsonl", "{" * 100), line_bytes=64)


def test_a_small_file_may_not_unfold_into_a_large_one(tmp_path):
    path = tmp_path / "bomb.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n" * 3_000_000))
    with pytest.raises(InvalidRequestError, match="unfolds"):
        read(path, line_bytes=1_000, expansion=10)


def test_a_torn_archive_is_refused(tmp_path):
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(request(call())).encode())[:-12])
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        read(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        read(tmp_path / "none.jsonl")
