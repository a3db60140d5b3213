"""How the MCP proxy reads and writes messages, names, lines and results, by themselves."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aisecops_client.obligations import REDACTED, Duty
from aisecops_mcp import jsonrpc
from aisecops_mcp.jsonrpc import MalformedError
from aisecops_mcp.lines import TooLong, lines
from aisecops_mcp.naming import Naming
from aisecops_mcp.results import passed_on, reads
from aisecops_mcp.session import SOURCES, SOURCES_BYTES, Session, ToldWronglyError
from aisecops_mcp.talk import shown
from aisecops_server.cli.mcp.mcp_commands import name_of
from hypothesis import given
from hypothesis import strategies as st


async def fed(*chunks: bytes, limit: int) -> list[bytes | TooLong]:
    reader = asyncio.StreamReader()
    for chunk in chunks:
        reader.feed_data(chunk)
    reader.feed_eof()
    return [line async for line in lines(reader, limit=limit)]


def answer(result: Any) -> jsonrpc.Message:
    return jsonrpc.read(json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode())


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=6), st.integers(1, 50))
def test_lines_are_what_was_written_however_it_arrives(written: list[bytes], size: int) -> None:
    data = b"".join(line + b"\n" for line in written)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert asyncio.run(fed(*chunks, limit=100)) == [line.strip() for line in written if line.strip()]


def test_of_a_line_that_is_too_long_its_ends_are_kept_and_its_size_is_told() -> None:
    long = b"head" + b"x" * 1_000_000 + b"tail"
    [cut, after] = asyncio.run(fed(long + b"\nnext\n", limit=10_000))
    assert isinstance(cut, TooLong)
    assert (cut.size, cut.head[:4], cut.tail[-4:], after) == (len(long), b"head", b"tail", b"next")


def test_a_message_is_kept_as_it_came() -> None:
    raw = b'{ "jsonrpc":"2.0", "method":"ping" ,"id": "a" }'
    message = jsonrpc.read(raw)
    assert (message.raw, message.id, message.method, message.is_request) == (raw, "a", "ping", True)


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(MalformedError):
        jsonrpc.read(b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_half_a_surrogate_pair_can_be_written() -> None:
    message = jsonrpc.read(b'{"jsonrpc":"2.0","id":1,"result":{"a":"\\ud800"}}')
    assert jsonrpc.read(jsonrpc.renamed(message, id=2)).result == {"a": "\ud800"}


def test_behind_several_servers_a_name_says_whose_it_is() -> None:
    naming = Naming(["files", "mail.v2"])
    assert naming.split(naming.shown("mail.v2", "send__now")) == ("mail.v2", "send__now")
    for unknown in ("send", "other__send", "files_send"):
        with pytest.raises(LookupError):
            naming.split(unknown)
    assert Naming(["files"]).split("a__b") == ("files", "a__b")


@pytest.mark.parametrize("name", ["", "a__b", "a_", "-a", "a/b", "naïve", "a b", "a" * 65])
def test_a_server_has_a_name_that_can_be_read_in_one_way(name: str) -> None:
    with pytest.raises(ValueError, match="no name for a server"):
        Naming([name, "other"])


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("npx -y @modelcontextprotocol/server-filesystem /tmp", "filesystem"),
        ("npx @modelcontextprotocol/server-memory@2026.1.1", "memory"),
        ("uvx mcp-server-git --repository .", "git"),
        ("python -m mcp_server_time", "time"),
        ("python desk.py", "python"),
        ("/opt/notes-mcp --port 1", "notes"),
    ],
)
def test_a_name_is_read_off_the_command(line: str, name: str) -> None:
    assert name_of(tuple(line.split())) == name


def test_what_obligations_do_not_touch_is_passed_on_byte_for_byte() -> None:
    found = answer({"content": [{"type": "text", "text": "x"}]})
    assert passed_on(found, (Duty("confirm", {}), Duty("redact", {"fields": ["iban"], "of": "arguments"}))) is found.raw


def test_a_field_is_taken_out_wherever_a_result_may_hold_it() -> None:
    record = {"name": "Mara", "iban": "NL91ABNA0417164300", "orders": [{"iban": "NL91ABNA0417164300"}]}
    blocks: list[Any] = [
        {"type": "text", "text": json.dumps(record)},
        {"type": "text", "text": "Her IBAN is NL91ABNA0417164300."},
        {"type": "resource", "resource": {"uri": "a://b", "text": json.dumps(record)}},
        {"type": "image", "data": "TkwwOQ==", "mimeType": "image/png"},
        "NL91ABNA0417164300",
    ]
    found = answer({"content": blocks, "structuredContent": record, "_meta": record})
    passed = passed_on(found, [Duty("redact", {"fields": ["iban"]})])
    assert b"NL91" not in passed
    assert b"TkwwOQ" not in passed
    result = jsonrpc.read(passed).result
    assert json.loads(result["content"][0]["text"])["name"] == "Mara"
    assert [block["text"] for block in result["content"][1:2]] == [REDACTED]
    assert result["structuredContent"]["orders"] == [{"iban": REDACTED}]


def test_the_words_of_an_error_are_taken_out_where_a_field_must_not_be_seen() -> None:
    raw = b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no NL91","data":{"iban":"NL91"}}}'
    assert b"NL91" not in passed_on(jsonrpc.read(raw), [Duty("redact", {"fields": ["iban"]})])


def test_rows_are_limited_in_text_and_structure() -> None:
    found = answer({"content": [{"type": "text", "text": "[1, 2, 3]"}], "structuredContent": {"rows": [1, 2, 3]}})
    result = jsonrpc.read(passed_on(found, [Duty("limit", {"rows": 2})])).result
    assert (result["content"][0]["text"], result["structuredContent"]) == ("[1, 2]", {"rows": [1, 2]})


def test_everything_that_reaches_a_model_is_read() -> None:
    result = {
        "content": [
            {"type": "text", "text": "one"},
            {"type": "resource", "resource": {"uri": "a://b", "text": "two"}},
            {"type": "resource_link", "uri": "a://c", "description": "three"},
            {"type": "image", "data": "AAAA", "mimeType": "image/png"},
        ],
        "structuredContent": {"four": 4},
        "contents": [{"uri": "a://d", "text": "five"}],
        "messages": [{"role": "user", "content": {"type": "text", "text": "six"}}],
    }
    told = [found.content for found in reads(answer(result))]
    assert told == ["one", "two", "a://c\nthree", None, "five", "six", '{"four": 4}']
    printed = {"content": [{"type": "text", "text": '{"four": 4}'}], "structuredContent": {"four": 4}}
    assert [found.content for found in reads(answer(printed))] == ['{"four": 4}']


def test_a_session_forgets_no_source_and_stays_within_what_a_plan_may_carry() -> None:
    session = Session("production", "s")
    session.told([{"kind": "user_prompt", "content": "Find it."}])
    for number in range(600):
        _, step = session.proposal("web/fetch", {"page": number})
        session.ran(
            step,
            list(reads(answer({"content": [{"type": "text", "text": f"{number} " + "x" * 20_000}]}))),
            keeps_content=True,
        )
    plan, _ = session.proposal("web/fetch", {})
    assert len(plan.sources) <= SOURCES
    assert sum(len(source.content) for source in plan.sources) <= SOURCES_BYTES
    assert [source.kind for source in plan.sources].count(2) == 1
    assert len({source.source_id for source in plan.sources}) == len(plan.sources)
    # What no longer fits is there as something that could not be searched.
    assert any(source.digest and not source.content for source in plan.sources)


def test_the_same_text_twice_is_one_source_and_digests_only_where_obliged() -> None:
    session = Session("production", "s")
    for kept in (True, True, False):
        _, step = session.proposal("web/fetch", {})
        found = list(reads(answer({"content": [{"type": "text", "text": "same" if kept else "secret"}]})))
        session.ran(step, found, keeps_content=kept)
    plan, _ = session.proposal("web/fetch", {})
    assert [source.content for source in plan.sources] == [b"same", b""]
    assert len(plan.history) == 3


@pytest.mark.parametrize(
    "told",
    [
        {},
        ["x"],
        [{"kind": "rumour", "content": "x"}],
        [{"kind": "memory", "content": 7}],
        [{"kind": "memory", "trust": "x"}],
    ],
    ids=str,
)
def test_sources_that_make_no_sense_are_refused(told: Any) -> None:
    with pytest.raises(ToldWronglyError):
        Session("production", "s").told(told)


def test_what_is_shown_to_people_cannot_steer_their_terminal() -> None:
    assert shown("a\u202eb\x1b[2Jc\nd", 300) == "a\\u202eb\\u001b[2Jc\\u000ad"
    assert shown("x" * 400, 10) == "xxxxxxxxxx…"
