"""A collector is told of each decision in the log's order, at least once, and holds nobody up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.adapters.collector.http_collector import read_collector
from aisecops_server.adapters.collector.position_file import PositionFile
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.trace_parent import NOWHERE, TraceParent, read_trace_parent
from aisecops_server.ports.telemetry import Position
from aisecops_server.usecases.evidence.tell_collector import TellCollector
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.event_log import MemoryEventLog
from tests.integration.api.plans import plan
from tests.integration.api.running import running_api


class Collector:
    """Takes what it is given, after refusing as often as it is told to."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.taken: list[Mapping[str, Any]] = []

    async def take(self, request: Mapping[str, Any]) -> str:
        if self.refusals:
            self.refusals -= 1
            return "answered with status 503"
        self.taken.append(request)
        return ""

    @property
    def spans(self) -> list[Mapping[str, Any]]:
        return [
            span
            for request in self.taken
            for resource in request["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


def telling(log: MemoryEventLog, collector: Collector, root: Path, pauses: list[float] | None = None) -> TellCollector:
    async def size() -> int:
        return len(log.stored)

    async def pause(seconds: float) -> None:
        (pauses if pauses is not None else []).append(seconds)
        # Others get their turn, as they do while somebody really waits.
        await asyncio.sleep(0)

    return TellCollector(log, collector, PositionFile(root / "position"), size, "log.example/one", "0", pause)


@pytest.mark.asyncio
async def test_each_decision_is_told_once_and_in_order_and_a_restart_goes_on(tmp_path: Path) -> None:
    async with running_api() as api, api.client() as client:
        collector = Collector()
        tell = telling(api.log, collector, tmp_path)
        at = await tell.start()
        first, second = await client.decide(plan()), await client.decide(plan())
        at = await tell.round(at)
        decided = [span for span in collector.spans if span["name"] == "aisecops.decide"]
        assert [span["traceId"] for span in decided] == [first.decision.trace_id, second.decision.trace_id]
        assert await tell.round(at) == at
        again = telling(api.log, collector, tmp_path)
        third = await client.decide(plan())
        await again.round(await again.start())
        decided = [span for span in collector.spans if span["name"] == "aisecops.decide"]
        assert [span["traceId"] for span in decided][2:] == [third.decision.trace_id]
        assert "spans" in json.dumps(collector.taken)


@pytest.mark.asyncio
async def test_what_is_not_taken_waits_in_the_log_with_growing_pauses(tmp_path: Path) -> None:
    async with running_api() as api, api.client() as client:
        collector, pauses = Collector(refusals=8), []
        tell = telling(api.log, collector, tmp_path, pauses)
        at = await tell.start()
        await client.decide(plan())
        await tell.round(at)
        assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
        assert len({span["spanId"] for span in collector.spans}) == len(collector.spans) > 0


@pytest.mark.asyncio
@pytest.mark.parametrize("kept", [None, Position(10_000, "ab"), Position(1, "ab" * 32)])
async def test_a_position_of_another_log_counts_for_nothing(tmp_path: Path, kept: Position | None) -> None:
    async with running_api() as api, api.client() as client:
        await client.decide(plan())
        tell = telling(api.log, Collector(), tmp_path)
        if kept:
            tell.store.keep(kept)
        assert await tell.start() == len(api.log.stored)


def test_a_position_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    for content in (b"", b"{", b"[]", b'{"size": "x"}', b'{"size": 0, "leaf_hash": ""}', b"\xff"):
        (tmp_path / "p").write_bytes(content)
        assert PositionFile(tmp_path / "p").load() is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "collector:4318",
        "http://collector.example:4318",
        "http://10.0.0.1:4318",
        "ftp://127.0.0.1",
        "https://user:secret@collector.example",
    ],
)
def test_spans_leave_for_this_machine_or_over_https_only(url: str) -> None:
    with pytest.raises(InvalidRequestError):
        read_collector(url)


def test_the_usual_path_is_added_where_there_is_none() -> None:
    assert read_collector("http://127.0.0.1:4318").url == "http://127.0.0.1:4318/v1/traces"
    assert read_collector("https://otel.example/").url == "https://otel.example/v1/traces"
    assert read_collector("https://otel.example/api/otlp").url == "https://otel.example/api/otlp"


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_trace_parent_is_read_as_the_standard_writes_it() -> None:
    assert read_trace_parent(f"00-{TRACE}-{SPAN}-01") == TraceParent(TRACE, SPAN)
    assert read_trace_parent(f"01-{TRACE}-{SPAN}-00-later") == TraceParent(TRACE, SPAN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TRACE,
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
    ],
)
def test_a_trace_parent_that_is_malformed_is_as_if_it_were_not_there(text: str) -> None:
    assert read_trace_parent(text) == NOWHERE


@given(st.text(max_size=80))
def test_any_text_is_read_without_a_fault(text: str) -> None:
    found = read_trace_parent(text)
    assert found == NOWHERE or f"-{found.trace_id}-{found.span_id}-" in text


def test_the_task_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    async def scene() -> None:
        task = asyncio.create_task(telling(MemoryEventLog(), Collector(), tmp_path).run())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
