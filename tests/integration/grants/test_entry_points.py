"""Text of a model can never cause execution by itself: every way in is listed, and none of them leads to a tool.

Two halves. Of the API, every call is made with what a model may write, and nothing runs. Of the client, the one place
that calls a guarded function is found by reading its code, with everything that has to come before it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from aisecops.v1 import decision_service_pb2, execution_service_pb2, plan_pb2
from aisecops_client import Client, Guard, tool_call_message
from aisecops_client.messages import bearer, decide_request
from aisecops_client.plan import PlanBuilder
from aisecops_server.domain.callers.identity import Role

from tests.house import tree
from tests.integration.api.calls import EVERY_CALL, STREAMED
from tests.scenes.grants.guarding import Outbox, Plane, plane

ARGUMENTS = {"to": "eve@evil.example"}
MESSAGES = {
    "openai": {
        "role": "assistant",
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "send", "arguments": json.dumps(ARGUMENTS)}}
        ],
    },
    "anthropic": {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "1", "name": "send", "input": ARGUMENTS}],
    },
    "mcp": {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "send", "arguments": ARGUMENTS},
    },
    "aisecops": {"steps": [{"step_id": "s1", "tool": "mail/send", "arguments": ARGUMENTS}]},
}
STARTING = re.compile(
    r"subprocess\.|asyncio\.create_subprocess|os\.(system|exec|spawn|posix_spawn)|(eval|exec|compile)$"
)
CLIENT = tree.under("clients/aisecops_client/", suffix=".py")


@pytest.fixture
def served() -> Iterator[Plane]:
    with plane() as running:
        yield running


def asked(name: str, message: plan_pb2.ToolCallMessage) -> bytes:
    """Return a request of a call that carries the model's text wherever the call takes any."""
    text = message.payload.decode()
    plan = PlanBuilder(intent=text)
    plan.source("tool_result", text)
    decide = decide_request(plan, message=message)
    requests: dict[str, Any] = {
        "Decide": decide,
        "DecideBatch": decision_service_pb2.DecideBatchRequest(
            items=[decision_service_pb2.DecideBatchItem(correlation_id="1", request=decide)]
        ),
        "Session": decision_service_pb2.SessionRequest(correlation_id="1", plan=decide.plan, message=message),
        "DryRun": decision_service_pb2.DryRunRequest(request=decide),
        "Redeem": execution_service_pb2.RedeemRequest(
            token=text, redemption_key="k" * 16, tool="mail/send", arguments_sha256="0" * 64
        ),
    }
    found = requests.get(name.rpartition("/")[2])
    return found.SerializeToString() if found else message.SerializeToString()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("shape", MESSAGES)
def test_no_call_of_the_api_runs_what_a_model_wrote(served: Plane, shape: str) -> None:
    outbox = Outbox()
    message = tool_call_message(shape, json.dumps(MESSAGES[shape]), server="" if shape == "aisecops" else "mail")
    with Client.connect(served.address, served.token(*Role)) as client:
        # A tool that could be run stands ready.
        Guard(client).tool("mail/send")(outbox.send)
        for name in EVERY_CALL:
            data = asked(name, message)
            streamed = STREAMED.get(name)
            channel = client.channel
            try:
                if streamed == "both":
                    list(channel.stream_stream(name)(iter([data]), metadata=bearer(client.token), timeout=5))
                elif streamed == "answers":
                    list(channel.unary_stream(name)(data, metadata=bearer(client.token), timeout=1))
                else:
                    channel.unary_unary(name)(data, metadata=bearer(client.token), timeout=20)
            except grpc.RpcError:
                continue
    assert outbox.sent == []
    # It was allowed, and granted, and still nothing ran: nobody used a grant.
    assert served.types("grant.issued") != []
    assert served.types("grant.redeemed") == []
    assert served.types("execution.") == []


def uses(name: str) -> set[tuple[str, str]]:
    """Return where the client reads an attribute, or calls a name, of that name: as (file, function)."""
    found = set()
    for path in CLIENT:
        for function in tree.functions(path):
            for node in ast.walk(function.node):
                read = isinstance(node, ast.Attribute) and node.attr == name
                called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
                if read or called:
                    found.add((path.rpartition("/")[2], function.node.name))
    return found


def test_the_client_calls_a_guarded_function_in_one_place_only() -> None:
    assert uses("function") == {("enforce.py", "_function")}
    assert uses("_function") == {("enforce.py", "_perform"), ("enforce_aio.py", "_run")}
    assert uses("Run") == {("guarded.py", "_ran")}
    assert uses("_ran") == {("guarded.py", "executed")}
    # A framework runs its tool itself, between the two halves of the same steps.
    callers = {("enforce.py", "_one_call"), ("enforce.py", "_plan_call"), ("_bridge.py", "_steps")}
    assert uses("executed") == callers


def test_everything_that_makes_a_call_safe_comes_before_it() -> None:
    [steps] = [
        function.node
        for function in tree.functions("clients/aisecops_client/guarded.py")
        if function.node.name == "executed"
    ]
    order = [
        node.func.id for node in _in_order(steps) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    wanted = ["_grant_of", "duties_of", "_redeemed", "_require_granted", "_ran"]
    assert [name for name in order if name in wanted] == wanted
    assert order[-1] == "_ran"


def test_the_control_plane_itself_has_no_tools_to_run() -> None:
    """It starts an engine and Git, and no other program; nothing of what an agent sends is a command."""
    starters = {
        path
        for path in tree.under("server/aisecops_server/", suffix=".py")
        if any(word in tree.text(path) for word in ("subprocess", "os.", "eval(", "exec("))
        and any(STARTING.match(name) for name, _ in tree.called(path))
    }
    homes = ("server/aisecops_server/adapters/opa/", "server/aisecops_server/adapters/git/")
    # The bundle compiler is the engine again; `doctor` asks programs for their versions.
    homes = (*homes, "server/aisecops_server/adapters/bundles/", "server/aisecops_server/cli/running/checks.py")
    # The demo's approver answers with this command line, in a process of their own.
    homes = (*homes, "server/aisecops_server/demo/controls.py")
    # A verification is shared by processes of this very program, which read a file and nothing else.
    homes = (*homes, "server/aisecops_server/adapters/sqlite/verification_crew.py")
    # What is carried to where there is no network is fetched by this Python's own pip, when a person says so.
    homes = (*homes, "server/aisecops_server/adapters/airgap/distributions.py")
    assert sorted(path for path in starters if not path.startswith(homes)) == []


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)
        yield child
