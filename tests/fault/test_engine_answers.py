"""Every answer that is not a decision raises; none of them can become one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aisecops_server.adapters.opa.engine import OpaEngine
from aisecops_server.adapters.opa.profile import EngineLimits
from aisecops_server.domain.errors import EngineUnavailableError, NoDecisionError

from tests.scenes.planes import engines
from tests.scenes.planes.engines import PretendedProcess, answering, decided, document, pretending, reply

OTHER_REVISION = "f" * 40
PROVENANCE = {"version": "1.22.2", "bundles": {"aisecops": {"revision": engines.REVISION}}}


def chunked(body: bytes, *, size: int = 7) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""]
    )


NOT_DECISIONS = {
    "empty object": reply(b"{}"),
    "undefined": reply(decided(without="result")),
    "no provenance": reply(decided(without="provenance")),
    "no metrics": reply(decided(without="metrics")),
    "negative time": reply(
        json.dumps({"result": {}, "provenance": PROVENANCE, "metrics": {"timer_rego_query_eval_ns": -1}}).encode()
    ),
    "no version": reply(
        json.dumps(
            {"result": {}, "provenance": {"bundles": PROVENANCE["bundles"]}, "metrics": {"timer_rego_query_eval_ns": 1}}
        ).encode()
    ),
    "no bundle": reply(
        json.dumps(
            {
                "result": {},
                "provenance": {"version": "1.22.2", "bundles": {}},
                "metrics": {"timer_rego_query_eval_ns": 1},
            }
        ).encode()
    ),
    "two bundles": reply(
        json.dumps(
            {
                "result": {},
                "provenance": {
                    "version": "1.22.2",
                    "bundles": {"aisecops": {"revision": engines.REVISION}, "other": {"revision": "x"}},
                },
                "metrics": {"timer_rego_query_eval_ns": 1},
            }
        ).encode()
    ),
    "empty revision": reply(decided(revision="")),
    "other revision": reply(decided(revision=OTHER_REVISION)),
    "result is true": reply(decided(True)),
    "result is text": reply(decided("ALLOW")),
    "result is null": reply(decided().replace(b'{"outcome": "ALLOW"}', b"null")),
    "result is an array": reply(decided([{"outcome": "ALLOW"}])),
    "answer is an array": reply(b'[{"result": {"outcome": "ALLOW"}}]'),
    "status 500": reply(decided(), status=b"500 Internal Server Error"),
    "status 401": reply(decided(), status=b"401 Unauthorized"),
    "status 204": reply(decided(), status=b"204 No Content"),
    "status 302": reply(decided(), status=b"302 Found"),
    "not JSON": reply(b"ALLOW"),
    "empty body": reply(b""),
    "cut JSON": reply(decided()[:-10]),
    "JSON and more": reply(decided() + b"{}"),
    "NaN": reply(decided().replace(b"1200", b"NaN")),
    "not HTTP": b"\x00\x01\x02\x03 garbage\r\n\r\n",
    "other protocol": b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "no length": b"HTTP/1.1 200 OK\r\n\r\n" + decided(),
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 400\r\n\r\n" + decided(),
    "length and chunks": chunked(decided()).replace(b"chunked\r\n", b"chunked\r\nContent-Length: 3\r\n", 1),
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + decided(),
    "longer than said": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + decided(),
    "folded header": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "malformed chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "chunk without end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n",
    "trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: y\r\n\r\n",
    "endless chunk line": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 500,
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000,
}


@pytest.mark.asyncio
@pytest.mark.parametrize("raw", NOT_DECISIONS.values(), ids=NOT_DECISIONS.keys())
async def test_an_answer_that_is_not_a_decision_raises(raw: bytes, tmp_path: Path) -> None:
    async with pretending(tmp_path, answering(raw)) as socket:
        engine = OpaEngine(PretendedProcess(socket))
        with pytest.raises(NoDecisionError) as raised:
            await engine.evaluate(document("plain"), deadline_seconds=5)
    assert raised.value.metadata()["why"]
    assert raised.value.hint


@pytest.mark.asyncio
@pytest.mark.parametrize("raw", NOT_DECISIONS.values(), ids=NOT_DECISIONS.keys())
async def test_a_batch_of_what_is_not_a_decision_holds_errors_only(raw: bytes, tmp_path: Path) -> None:
    async with pretending(tmp_path, answering(raw)) as socket:
        engine = OpaEngine(PretendedProcess(socket))
        answers = await engine.evaluate_batch([document("plain")] * 3, deadline_seconds=5)
    assert [type(answer) for answer in answers] == [NoDecisionError] * 3


@pytest.mark.asyncio
@pytest.mark.parametrize("raw", [reply(decided()), chunked(decided()), chunked(decided(), size=4000)])
async def test_the_same_matrix_lets_a_decision_through(raw: bytes, tmp_path: Path) -> None:
    async with pretending(tmp_path, answering(raw)) as socket:
        verdict = await OpaEngine(PretendedProcess(socket)).evaluate(document("plain"), deadline_seconds=5)
    assert (verdict.result, verdict.revision, verdict.engine_version, verdict.evaluation_ns) == (
        {"outcome": "ALLOW"},
        engines.REVISION,
        "1.22.2",
        1200,
    )


@pytest.mark.asyncio
async def test_half_a_reply_is_no_answer(tmp_path: Path) -> None:
    raw = reply(decided())
    async with pretending(tmp_path, answering(raw[: len(raw) // 2], then_close=True)) as socket:
        with pytest.raises(EngineUnavailableError):
            await OpaEngine(PretendedProcess(socket)).evaluate(document("plain"), deadline_seconds=5)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "raw",
    [
        reply(decided({"outcome": "x" * 5000})),
        chunked(decided({"outcome": "x" * 5000}), size=900),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
    ],
    ids=["length", "chunks", "a length beyond reason", "a chunk beyond reason"],
)
async def test_a_reply_over_the_limit_is_cut_off(raw: bytes, tmp_path: Path) -> None:
    async with pretending(tmp_path, answering(raw)) as socket:
        process = PretendedProcess(socket, limits=EngineLimits(reply_bytes=2000))
        with pytest.raises(NoDecisionError) as raised:
            await OpaEngine(process).evaluate(document("plain"), deadline_seconds=5)
    assert raised.value.metadata()["why"] == "reply too large"


@pytest.mark.asyncio
async def test_silence_ends_at_the_deadline_with_the_connection_closed(tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await engines.read_request(reader)
        await reader.read()
        closed.set()
        writer.close()

    async with pretending(tmp_path, silent) as socket:
        process = PretendedProcess(socket)
        with pytest.raises(EngineUnavailableError) as raised:
            await OpaEngine(process).evaluate(document("plain"), deadline_seconds=0.05)
        async with asyncio.timeout(5):
            await closed.wait()
    assert raised.value.metadata()["why"] == "deadline"
    assert process.suspected == 1


@pytest.mark.asyncio
async def test_a_caller_who_leaves_closes_the_connection(tmp_path: Path) -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await engines.read_request(reader)
        asked.set()
        await reader.read()
        closed.set()
        writer.close()

    async with pretending(tmp_path, silent) as socket:
        call = asyncio.create_task(OpaEngine(PretendedProcess(socket)).evaluate(document("plain"), deadline_seconds=60))
        await asked.wait()
        call.cancel()
        async with asyncio.timeout(5):
            await closed.wait()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.asyncio
async def test_nothing_at_the_socket_is_no_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError):
        await OpaEngine(PretendedProcess(tmp_path / "nobody")).evaluate(document("plain"), deadline_seconds=5)


@pytest.mark.asyncio
async def test_a_document_over_the_limit_is_never_sent(tmp_path: Path) -> None:
    process = PretendedProcess(tmp_path / "nobody", limits=EngineLimits(body_bytes=100))
    with pytest.raises(NoDecisionError):
        await OpaEngine(process).evaluate(document("plain", value="x" * 100), deadline_seconds=5)


@pytest.mark.asyncio
@pytest.mark.parametrize("count", [0, 1, 4], ids=["none", "too few", "too many"])
async def test_a_batch_answer_of_another_length_decides_nothing(count: int, tmp_path: Path) -> None:
    body = decided([{"outcome": "ALLOW"}] * count)
    async with pretending(tmp_path, answering(reply(body))) as socket:
        answers = await OpaEngine(PretendedProcess(socket)).evaluate_batch([document("plain")] * 3, deadline_seconds=5)
    assert [type(answer) for answer in answers] == [NoDecisionError] * 3


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "body",
    [decided(), b"{}", json.dumps({"explanation": [1], "provenance": PROVENANCE}).encode(), b'{"explanation": ["x"]}'],
    ids=["none", "nothing", "not text", "of nobody knows which revision"],
)
async def test_what_explains_nothing_raises(body: bytes, tmp_path: Path) -> None:
    async with pretending(tmp_path, answering(reply(body))) as socket:
        with pytest.raises(NoDecisionError):
            await OpaEngine(PretendedProcess(socket)).explain(document("plain"), deadline_seconds=5)
