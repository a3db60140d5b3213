"""A real engine over its socket: right verdicts, an API that only decides, and a process that sees nothing of ours."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from aisecops_server.adapters.opa import profile
from aisecops_server.adapters.opa.management import EngineReport, look
from aisecops_server.adapters.opa.process import OpaProcess
from aisecops_server.adapters.opa.profile import EngineLimits
from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.errors import BundleRejectedError, EngineUnavailableError, NoDecisionError

from tests.scenes.planes import engines
from tests.scenes.planes.engines import document

CANARY = "canary-9d2c61"


class OverSocket(http.client.HTTPConnection):
    """The standard library's client, as an independent way to ask."""

    def __init__(self, path: Path) -> None:
        super().__init__("opa")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def ask(
    process: OpaProcess, method: str, target: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    connection = OverSocket(process.socket)
    try:
        connection.request(method, target, body or None, dict(headers or {}))
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def of_process(pid: int, what: str) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


def namespace(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


@pytest.mark.asyncio
async def test_a_verdict_carries_result_revision_version_and_time_of_one_reply(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, _):
        verdict = await engine.evaluate(document("plain", value=[1, {"a": None}]), deadline_seconds=5)
    assert verdict.result == {"outcome": "ALLOW", "echo": [1, {"a": None}], "limit": 3}
    assert (verdict.revision, verdict.engine_version) == (engines.REVISION, engines.engine_binary().version)
    assert verdict.evaluation_ns > 0


@pytest.mark.asyncio
async def test_the_document_reaches_the_policy_byte_for_byte(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    values = [9007199254740993, -1, 0, 1.5, '\u2028 \ud7ff \U0001f600 "\\ <>&', {"b": 1, "a": [True, None]}, [], ""]
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, _):
        verdicts = [await engine.evaluate(document("plain", value=value), deadline_seconds=5) for value in values]
    echoed = [verdict.result["echo"] for verdict in verdicts if isinstance(verdict.result, dict)]
    assert json.dumps(echoed, sort_keys=True) == json.dumps(values, sort_keys=True)


@pytest.mark.asyncio
async def test_an_independent_client_is_told_the_same(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    documents = [document("plain", value={"size": "x" * (7**power), "power": power}) for power in range(7)]
    target = "/v1/data/aisecops/decision/decision"
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, process):
        told = [(await engine.evaluate(item, deadline_seconds=5)).result for item in documents]
        bodies = [
            await asyncio.to_thread(ask, process, "POST", target, b'{"input":' + item + b"}") for item in documents
        ]
    assert [json.loads(body)["result"] for _, body in bodies] == told


@pytest.mark.asyncio
async def test_a_large_document_and_a_large_answer_pass(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    text = "x" * 1_000_000
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, _):
        verdict = await engine.evaluate(document("plain", value=text), deadline_seconds=10)
    assert verdict.result == {"outcome": "ALLOW", "echo": text, "limit": 3}


@pytest.mark.asyncio
async def test_a_batch_answers_in_order_as_single_questions_do_and_isolates_what_is_bad(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    bad = {0: "conflict", 37: "nothing", 38: "builtin", 99: "text", 149: "nothing"}
    documents = [document(bad.get(at, "plain"), value=at, text="x") for at in range(150)]
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, _):
        answers = await engine.evaluate_batch(documents, deadline_seconds=20)
        for at, answer in enumerate(answers):
            if at in bad:
                assert isinstance(answer, NoDecisionError)
                with pytest.raises(NoDecisionError) as raised:
                    await engine.evaluate(documents[at], deadline_seconds=5)
                assert raised.value.metadata() == answer.metadata()
            else:
                assert isinstance(answer, Verdict)
                assert answer.result == (await engine.evaluate(documents[at], deadline_seconds=5)).result
                assert answer.revision == engines.REVISION


@pytest.mark.asyncio
async def test_a_batch_of_large_documents_is_cut_to_what_one_request_holds(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    documents = [document("plain", value="x" * 300_000 + str(at)) for at in range(12)]
    limits = EngineLimits(body_bytes=700_000, reply_bytes=700_000)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path, limits=limits) as (engine, _):
        answers = await engine.evaluate_batch(documents, deadline_seconds=20)
    echoed = [answer.result["echo"][300_000:] for answer in answers if isinstance(answer, Verdict)]
    assert echoed == [str(at) for at in range(12)]


@pytest.mark.asyncio
async def test_an_empty_batch_has_no_answers(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, _):
        assert await engine.evaluate_batch([], deadline_seconds=1) == []


@pytest.mark.asyncio
async def test_more_callers_than_connections_take_turns(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    limits = EngineLimits(connections=2)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path, limits=limits) as (engine, _):
        questions = [engine.evaluate(document("plain", value=at), deadline_seconds=20) for at in range(50)]
        verdicts = await asyncio.gather(*questions)
    assert [verdict.result["echo"] for verdict in verdicts if isinstance(verdict.result, dict)] == list(range(50))


@pytest.mark.asyncio
async def test_callers_who_come_together_are_told_what_each_is_told_alone(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    cases = [document("plain", value=number) if number % 5 else document("conflict") for number in range(40)]
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, _):
        alone = [
            await asyncio.gather(engine.evaluate(one, deadline_seconds=10), return_exceptions=True) for one in cases
        ]
        asked = [engine.evaluate(one, deadline_seconds=10) for one in cases]
        together = await asyncio.gather(*asked, return_exceptions=True)
    told = [(one.result if isinstance(one, Verdict) else type(one)) for [one] in alone]
    assert [(one.result if isinstance(one, Verdict) else type(one)) for one in together] == told
    assert told.count(NoDecisionError) == 8


@pytest.mark.asyncio
async def test_an_explanation_names_files_and_lines(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, _):
        text = await engine.explain(document("plain", value=1), deadline_seconds=10)
    line = engines.DECISION[: engines.DECISION.index("answer := ")].count("\n") + 1
    assert f"/aisecops/decision/decision.rego:{line} " in text
    assert "Exit data.aisecops.decision.answer" in text


REFUSED = [
    ("PUT", "/v1/policies/mine", b"package mine"),
    ("PUT", "/v1/policies/aisecops/decision/decision.rego", b"package aisecops.decision\n\ndecision := 1"),
    ("DELETE", "/v1/policies/aisecops/decision/decision.rego", b""),
    ("GET", "/v1/policies", b""),
    ("PUT", "/v1/data/tables", b"{}"),
    ("PATCH", "/v1/data/tables", b"[]"),
    ("DELETE", "/v1/data/tables", b""),
    ("GET", "/v1/data", b""),
    ("GET", "/v1/data/aisecops/decision/decision", b""),
    ("POST", "/v1/data", b"{}"),
    ("POST", "/v1/data/aisecops", b"{}"),
    ("POST", "/v1/data/system/authz", b"{}"),
    ("POST", "/v1/data/tables/limits", b"{}"),
    ("POST", "/v0/data/aisecops/decision/decision", b"{}"),
    ("POST", "/v1/query", b'{"query": "x = 1"}'),
    ("GET", "/v1/query?q=x%3D1", b""),
    ("POST", "/v1/compile", b'{"query": "data.aisecops.decision.decision == 1"}'),
    ("GET", "/v1/config", b""),
    ("GET", "/v1/status", b""),
    ("GET", "/metrics", b""),
    ("POST", "/", b"{}"),
    ("GET", "/", b""),
]


@pytest.mark.asyncio
async def test_the_api_decides_and_does_nothing_else(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (_, process):
        statuses = {
            f"{method} {target}": (await asyncio.to_thread(ask, process, method, target, body))[0]
            for method, target, body in REFUSED
        }
        allowed, body = await asyncio.to_thread(
            ask, process, "POST", "/v1/data/aisecops/decision/decision", b'{"input":{"case":"plain","value":1}}'
        )
        report = await look(process.socket)
    assert statuses == dict.fromkeys(statuses, 401)
    assert (allowed, json.loads(body)["result"]["limit"]) == (200, 3)
    assert report == EngineReport(healthy=True, locked=True)


@pytest.mark.asyncio
async def test_an_api_that_is_not_locked_is_reported(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    unlocked = engines.sources(authorization="package system.authz\n\nallow := true\n")
    async with engines.running(engines.build(tmp_path, key, files=unlocked), key, tmp_path) as (_, process):
        assert await look(process.socket) == EngineReport(healthy=True, locked=False)


@pytest.mark.asyncio
async def test_looking_at_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="nothing answers"):
        await look(tmp_path / "nobody")


@pytest.mark.asyncio
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
async def test_bodies_over_the_cap_are_refused(compressed: bool, tmp_path: Path) -> None:  # noqa: FBT001
    key = engines.signer(tmp_path)
    limits = EngineLimits(body_bytes=10_000)
    body = b'{"input":{"case":"plain","value":"' + b"x" * 2_000_000 + b'"}}'
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    sent = gzip.compress(body) if compressed else body[:20_000]
    async with engines.running(engines.build(tmp_path, key), key, tmp_path, limits=limits) as (_, process):
        status, _ = await asyncio.to_thread(
            ask, process, "POST", "/v1/data/aisecops/decision/decision", sent, headers=headers
        )
    assert status == 400
    assert not compressed or len(sent) < limits.body_bytes


@pytest.mark.asyncio
async def test_the_engine_sees_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISECOPS_CANARY", CANARY)
    key = engines.signer(tmp_path)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, process):
        verdict = await engine.evaluate(document("environment"), deadline_seconds=5)
        given = of_process(process.pid, "environ")
    assert isinstance(verdict.result, dict)
    assert sorted(verdict.result["environment"]) == ["GOGC", "GOMEMLIMIT"]
    assert CANARY.encode() not in given


@pytest.mark.asyncio
@pytest.mark.skipif(profile.network() != "none", reason="this system gives a child no network namespace of its own")
async def test_a_policy_that_calls_out_reaches_nobody(tmp_path: Path) -> None:
    connected = asyncio.Event()
    server = await asyncio.start_server(lambda _reader, _writer: connected.set(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    key = engines.signer(tmp_path)
    async with server, engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, process):
        asked = document("network", url=f"http://127.0.0.1:{port}/")
        verdict = await engine.evaluate(asked, deadline_seconds=20)
        assert namespace(process.pid) != namespace(os.getpid())
    assert isinstance(verdict.result, dict)
    assert verdict.result["body"]["status_code"] == 0
    assert not connected.is_set()


@pytest.mark.asyncio
async def test_the_socket_and_its_directory_are_private_and_go_away(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (_, process):
        path = process.socket
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert os.getsid(process.pid) == process.pid
    assert not path.parent.exists()


@pytest.mark.asyncio
async def test_a_run_directory_too_deep_for_a_socket_still_gets_one(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    async with engines.running(engines.build(tmp_path, key), key, deep) as (engine, process):
        assert len(os.fsencode(process.socket)) <= profile.SOCKET_PATH_BYTES
        assert (await engine.evaluate(document("plain", value=1), deadline_seconds=5)).revision == engines.REVISION


@pytest.mark.asyncio
async def test_an_engine_that_was_replaced_on_disk_is_not_started(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    copy = tmp_path / "opa"
    copy.write_bytes(engines.engine_binary().path.read_bytes())
    copy.chmod(0o755)
    process = OpaProcess(
        engines.build(tmp_path, key),
        engine=engines.examine(copy, source="tests"),
        trust=profile.Trust(key.public),
        limits=EngineLimits(),
        parent=tmp_path / "run",
    )
    with copy.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(EngineUnavailableError, match="not the file that was pinned"):
        await process.start()
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.asyncio
async def test_a_bundle_that_gives_no_answer_at_all_is_rejected(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    closed = engines.sources(authorization="package system.authz\n\nallow := false\n")
    with pytest.raises(BundleRejectedError, match="status 401"):
        async with engines.running(engines.build(tmp_path, key, files=closed), key, tmp_path):
            pass
