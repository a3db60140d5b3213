"""A tool server that demands grants: a real one over HTTP, called by an honest guard and by one that was patched."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aisecops.v1 import execution_service_pb2 as api
from aisecops_client import AisecopsClientError, Answer, CallDeniedError, Client, Guard, current_call
from aisecops_grant.arguments import arguments_sha256
from aisecops_grant.token import GrantRefusedError
from aisecops_grant.verifier import GrantKeys, GrantVerifier
from aisecops_server.domain.callers.identity import Role

from tests.integration.api.plans import plan as one_step
from tests.integration.api.running import AGENT
from tests.scenes.grants.grant_keys import grant_key
from tests.scenes.grants.guarding import Plane, plane

OTHER = "spiffe://example.org/agent/other"
TOOL = "spiffe://example.org/tool/mail"
ADA = {"to": "ada@example.org"}


@dataclass
class ToolServer:
    """Sends mail for those who have a grant. Callers are authenticated by a key of their own, as APIs do."""

    verifier: GrantVerifier
    callers: dict[str, str]
    sent: list[Any] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def handle(self, headers: Any, body: bytes) -> tuple[int, dict[str, Any]]:
        arguments = json.loads(body)
        try:
            claims = self.verifier.verify(
                headers.get("Grant", ""),
                tool="mail/send",
                arguments=arguments,
                agent_id=self.callers[headers.get("Api-Key", "")],
            )
        except GrantRefusedError as error:
            self.refused.append(error.why)
            return 403, {"error": str(error)}
        self.sent.append(arguments)
        return 200, {"grant": claims.id}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        tool: ToolServer = self.server.tool  # type: ignore[attr-defined]
        status, answer = tool.handle(self.headers, self.rfile.read(int(self.headers["Content-Length"])))
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@dataclass
class World:
    plane: Plane
    client: Client
    tool: ToolServer
    url: str

    def post(self, arguments: dict[str, Any], token: str, key: str = "key-of-agent") -> int:
        request = urllib.request.Request(
            self.url, json.dumps(arguments).encode(), {"Grant": token, "Api-Key": key}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    def grant(self) -> str:
        """Return a good grant for sending to Ada, that nobody used."""
        answer: Answer = self.client.decide(one_step())
        return answer.grants[0].token


@pytest.fixture
def world() -> Iterator[World]:
    with plane() as served, Client.connect(served.address, served.token()) as client:
        verifier = GrantVerifier(
            GrantKeys(client.grant_keys()), server="mail", clock=lambda: served.clock.now_ns() / 1e9
        )
        tool = ToolServer(verifier, {"key-of-agent": AGENT, "key-of-other": OTHER, "": ""})
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.tool = tool  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield World(served, client, tool, f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_guarded_call_reaches_the_tool_with_its_grant(world: World) -> None:
    guard = Guard(world.client)

    @guard.tool("mail/send")
    def send(to: str) -> int:
        call = current_call()
        assert call is not None
        return world.post({"to": to}, call.token)

    assert send("ada@example.org") == 200
    assert (world.tool.sent, world.plane.incidents()) == ([ADA], [])


def test_a_guard_that_was_patched_to_skip_the_decision_gets_nothing_done(world: World) -> None:
    """Whoever owns the agent's process owns its guard: they take out the question, and the tool says no."""
    own = Guard(world.client)

    def send(to: str) -> int:
        call = current_call()
        return world.post({"to": to}, call.token if call else "")

    guarded = own.tool("mail/send")(send)
    assert callable(guarded)
    # Straight to the function, past everything.
    assert send("eve@evil.example") == 403
    # With a grant that was made up, by a key of their own.
    forged = grant_key(world.plane.keys / "elsewhere").sign(grant_key(world.plane.keys).read(world.grant()))
    assert world.post(ADA, forged) == 403
    # With the grant of another call.
    good = world.grant()
    assert world.post({"to": "eve@evil.example"}, good) == 403
    # In the hands of another agent.
    assert world.post(ADA, good, key="key-of-other") == 403
    # Twice.
    assert [world.post(ADA, good), world.post(ADA, good)] == [200, 403]
    # Late.
    late = world.grant()
    world.plane.clock.advance(36)
    assert world.post(ADA, late) == 403
    assert world.tool.sent == [ADA]
    assert world.tool.refused == ["malformed", "unknown_key", "other_arguments", "other_caller", "reused", "expired"]


def test_a_denied_call_has_no_grant_that_the_tool_would_take(world: World) -> None:
    guard = Guard(world.client)
    delete = guard.tool("mail/delete")(lambda to: world.post({"to": to}, ""))
    with pytest.raises(CallDeniedError):
        delete("ada@example.org")
    assert world.post(ADA, "") == 403
    assert world.tool.sent == []


def test_a_tool_server_with_replicas_redeems_with_the_control_plane(world: World) -> None:
    """What one process remembers another does not, so the grant is used up where there is one memory for all."""
    token = world.grant()
    with Client.connect(world.plane.address, world.plane.token(Role.TOOL, subject=TOOL)) as tool:

        def redeemed(key: str) -> bool:
            request = api.RedeemRequest(
                token=token,
                redemption_key=key,
                tool="mail/send",
                arguments_sha256=arguments_sha256(ADA),
                presented_by=api.Bearer(agent_id=AGENT),
            )
            try:
                return bool(tool.redeem(request).grant_id)
            except AisecopsClientError:
                return False

        assert [redeemed("replica-one-0001"), redeemed("replica-two-0002")] == [True, False]
    assert world.plane.incidents() == ["grant_reused"]


def test_a_tool_server_reports_the_call_that_it_refused_and_the_one_that_was_blocked(world: World) -> None:

    denied = world.client.decide(one_step("mail/delete"))
    report = api.ExecutionReport(
        outcome=api.EXECUTION_OUTCOME_EXECUTED, tool="mail/delete", arguments_sha256=arguments_sha256(ADA)
    )
    with Client.connect(world.plane.address, world.plane.token(Role.TOOL, subject=TOOL)) as tool:
        seen = api.ReportExecutionRequest(report=report, agent_id=AGENT)
        assert list(tool.report_execution(seen).incidents) == ["run_without_grant"]
        seen.trace_id = denied.decision.trace_id
        assert list(tool.report_execution(seen).incidents) == ["blocked_but_run"]
