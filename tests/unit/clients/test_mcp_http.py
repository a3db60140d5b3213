"""What the proxy over HTTP keeps for a client, repeats as headers, and takes from a file."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aisecops_mcp import jsonrpc
from aisecops_mcp.callers import NotLetInError, Resource
from aisecops_mcp.client_config import ConfigError, places_in
from aisecops_mcp.http_address import Address
from aisecops_mcp.http_front import hosts_of
from aisecops_mcp.mirrored import decoded, differing, encoded, headers_for, mirrored_in
from aisecops_mcp.streams import ENDED_STREAMS, EVENTS, NotKeptError, Stream, Streams

URL = "http://127.0.0.1:8480/mcp"


async def read(stream: Stream, number: int = 0) -> list[bytes]:
    """Return what a reader gets that comes when all is said."""
    async with aclosing(stream.read(number, pause=0.01)) as events:
        found = []
        async for event in events:
            if event is None:
                break
            found.append(event.raw)
        return found


@pytest.mark.asyncio
async def test_a_stream_is_gone_on_with_behind_the_event_that_was_seen_last() -> None:
    streams = Streams()
    stream = streams.begin(1)
    for said in (b"a", b"b", b"c"):
        streams.put(said, 1)
    streams.end(1)
    assert await read(stream) == [b"a", b"b", b"c"]
    found, number = streams.behind(f"{stream.name}-1")
    assert await read(found, number) == [b"b", b"c"]
    with pytest.raises(ValueError, match="in use"):
        streams.begin(2) and streams.begin(2)


@pytest.mark.parametrize("name", ["", "-", "s1-", "s1-4", "s1--1", "s1-٣", "s9-0", "s1-" + "9" * 400, "x" * 10_000])
@pytest.mark.asyncio
async def test_an_event_that_there_is_not_is_gone_on_with_by_nobody(name: str) -> None:
    streams = Streams()
    streams.begin(1)
    streams.put(b"a", 1)
    with pytest.raises(NotKeptError):
        streams.behind(name)


@pytest.mark.asyncio
async def test_whoever_comes_last_reads_on_and_the_one_before_stops() -> None:
    streams = Streams()
    first = asyncio.create_task(read_to_its_end(streams.own))
    await asyncio.sleep(0)
    second = asyncio.create_task(read_to_its_end(streams.own))
    await asyncio.sleep(0)
    assert await first == []
    streams.put(b"late", None)
    streams.close()
    assert await second == [b"late"]


async def read_to_its_end(stream: Stream) -> list[bytes]:
    async with aclosing(stream.read(0, pause=60)) as events:
        return [event.raw async for event in events if event is not None]


@pytest.mark.asyncio
async def test_what_is_kept_is_bounded_whoever_reads() -> None:
    streams = Streams(kept_bytes=1000, waiting_bytes=1000)
    for number in range(3 * ENDED_STREAMS):
        streams.begin(number)
        streams.put(b"x" * 100, number)
        streams.end(number)
    assert not streams.overflowed
    for _ in range(3 * EVENTS):
        streams.put(b"y", None)
    assert len(streams.own.events) <= EVENTS
    with pytest.raises(NotKeptError, match="no longer kept"):
        streams.behind(f"{streams.own.name}-0")
    # Nobody reads a request that goes on and on: that is not dropped silently.
    streams.begin("open")
    for _ in range(30):
        streams.put(b"z" * 100, "open")
    assert streams.overflowed


@pytest.mark.asyncio
async def test_what_no_request_owns_goes_where_the_client_surely_reads() -> None:
    streams = Streams()
    streams.put(b"nobody reads", None)
    only = streams.begin(1)
    streams.put(b"the only one", None)
    assert [event.raw for event in only.events] == [b"the only one"]
    assert [event.raw for event in streams.own.events] == [b"nobody reads"]


SCHEMA = {
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "size": {"type": "integer", "x-mcp-header": "Size"},
        "in": {"type": "object", "properties": {"deep": {"type": "boolean", "x-mcp-header": "Deep"}}},
        "price": {"type": "number", "x-mcp-header": "Price"},
        "bad": {"type": "string", "x-mcp-header": "a\r\nb: c"},
    }
}


def test_arguments_are_repeated_as_headers_and_held_against_them() -> None:
    wanted = mirrored_in(SCHEMA)
    arguments = {"region": "Zürich\r\nEvil: 1", "size": 42.0, "in": {"deep": True}, "price": 1.5}
    headers = headers_for(wanted, arguments)
    assert headers.keys() == {"Mcp-Param-Region", "Mcp-Param-Size", "Mcp-Param-Deep"}
    assert (headers["Mcp-Param-Size"], headers["Mcp-Param-Deep"]) == ("42", "true")
    assert decoded(headers["Mcp-Param-Region"]) == arguments["region"]
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    said = {name.lower(): [value] for name, value in headers.items()}
    assert differing(wanted, arguments, said) == ""
    assert differing(wanted, {**arguments, "region": "Bern"}, said) == "Mcp-Param-Region"
    assert differing(wanted, {"region": arguments["region"]}, said) == "Mcp-Param-Size"
    assert differing(wanted, arguments, {**said, "mcp-param-deep": ["true", "false"]}) == "Mcp-Param-Deep"
    assert differing(wanted, arguments, {**said, "mcp-param-size": ["42.0"]}) == ""


@pytest.mark.parametrize("value", ["", "a", " a", "a ", "ä", "\n", "=?base64?YQ==?=", "x" * 5000])
def test_a_header_says_any_text_and_is_read_back(value: str) -> None:
    assert decoded(encoded(value)) == value
    assert "\n" not in encoded(value)


@pytest.mark.parametrize("value", ["=?base64?YR==?=", "=?base64?%%?=", "=?base64?/w==?="])
def test_a_header_that_is_read_in_two_ways_says_nothing(value: str) -> None:
    assert decoded(value) is None


def test_two_arguments_do_not_share_a_header() -> None:
    twice = {"type": "string", "x-mcp-header": "Region"}
    assert mirrored_in({"properties": {"a": twice, "b": {**twice, "x-mcp-header": "REGION"}}}) == ()


def test_a_message_is_on_one_line_and_of_one_coding() -> None:
    spread = b'{"jsonrpc":"2.0",\r\n"id":1,\n"method":"ping"}'
    assert b"\n" not in jsonrpc.read(spread).raw
    assert json.loads(jsonrpc.read(spread).raw) == json.loads(spread)
    for coding in ("utf-16", "utf-16-le", "utf-32", "utf-8-sig"):
        with pytest.raises(jsonrpc.MalformedError):
            jsonrpc.read(spread.decode().encode(coding))


def configured(**entry: Any) -> bytes:
    return json.dumps({"mcpServers": {"crm": entry}}).encode()


def test_servers_at_a_url_are_reached_with_a_token_of_the_proxys_own() -> None:
    token = Path("/etc/crm.token")
    found = places_in(configured(type="http", url="https://crm.example/mcp"), {"crm": token})
    assert found == {"crm": Address("https://crm.example/mcp", token)}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"url": "https://crm.example/mcp", "headers": {"Authorization": "Bearer x"}}, "--upstream-token crm=FILE"),
        ({"url": "https://crm.example/sse", "type": "sse"}, "Streamable HTTP only"),
        ({"url": "http://crm.example/mcp"}, "https"),
        ({"url": 5}, "https"),
        ({}, "command or a url"),
    ],
)
def test_servers_that_cannot_be_reached_so_are_named(entry: dict[str, Any], why: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=why):
        places_in(configured(**entry), {})


def test_a_resource_says_where_tokens_for_it_come_from() -> None:
    resource = Resource("https://mcp.example/team/mcp", ("https://login.example",))
    assert resource.path == "/team/mcp"
    assert "/.well-known/oauth-protected-resource/team/mcp" in resource.metadata_paths
    assert resource.metadata["authorization_servers"] == ["https://login.example"]
    told = resource.challenge(NotLetInError('no "good"\r\nX: y', error="invalid_token"))
    assert "\r" not in told
    assert told.count('"') == 6


@pytest.mark.parametrize("url", ["", "mcp", "ftp://a/", "http://mcp.example/mcp", "https://a/?x=1", "https://a/#x"])
def test_what_no_token_could_be_for_is_no_url_of_an_endpoint(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|https"):
        Resource(url)


def test_a_listener_has_the_names_of_this_machine_or_those_it_was_given() -> None:
    assert hosts_of("127.0.0.1:8480", URL, ()) == {"127.0.0.1", "localhost", "::1"}
    assert hosts_of("[::1]:8480", "https://mcp.example/mcp", ()) == {"127.0.0.1", "localhost", "::1", "mcp.example"}
    assert hosts_of("10.0.0.1:443", "https://mcp.example/mcp", ("Other.example",)) == {
        "10.0.0.1",
        "mcp.example",
        "other.example",
    }
