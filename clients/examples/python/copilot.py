"""An internal copilot on plain gRPC: python copilot.py HOST:PORT TOKEN_FILE SCENARIOS."""

import hashlib
import json
import sys
import uuid
from functools import partial

import grpc
from aisecops.v1 import approval_pb2, decision_pb2
from aisecops.v1 import approval_service_pb2 as approvals
from aisecops.v1 import decision_service_pb2 as decisions
from aisecops.v1 import execution_service_pb2 as executions
from aisecops.v1.approval_service_pb2_grpc import ApprovalServiceStub
from aisecops.v1.decision_service_pb2_grpc import DecisionServiceStub
from aisecops.v1.execution_service_pb2_grpc import ExecutionServiceStub

address, token_file, scenarios = sys.argv[1:]
CALL = {"metadata": [("authorization", f"Bearer {open(token_file).read().strip()}")], "timeout": 60}


def decide(channel, todo, **more):
    step = {"step_id": "call", "tool": todo["tool"], "arguments_json": todo["arguments"].encode()}
    sources = [
        {**said, "source_id": f"s{at}", "content": said["content"].encode()} for at, said in enumerate(todo["sources"])
    ]
    plan = {"intent": todo["intent"], "environment": "production", "steps": [step], "sources": sources}
    request = decisions.DecideRequest(plan=plan, idempotency_key=uuid.uuid4().hex, **more)
    return DecisionServiceStub(channel).Decide(request, **CALL)


def call(channel, todo, tell):
    answer = decide(channel, todo)
    if answer.decision.outcome == decision_pb2.OUTCOME_REQUIRE_APPROVAL:
        tell("waits for people")
        *_, last = ApprovalServiceStub(channel).Wait(approvals.WaitRequest(approval_id=answer.approval_id), **CALL)
        if last.approval.state != approval_pb2.APPROVAL_STATE_GRANTED:
            return tell("not approved")
        answer = decide(channel, todo, approval_id=answer.approval_id)
    if answer.decision.outcome != decision_pb2.OUTCOME_ALLOW or len(answer.grants) != 1:
        return tell(f"blocked by {next((found.rule for found in answer.decision.findings), 'policy')}")
    [grant] = answer.grants
    if grant.obligations:
        return tell(f"not run, cannot {grant.obligations[0].kind}")
    digest = hashlib.sha256(todo.get("swapped", todo["arguments"]).encode()).hexdigest()
    runs, ran = (
        ExecutionServiceStub(channel),
        {"tool": todo["tool"], "arguments_sha256": digest},
    )
    try:
        runs.Redeem(executions.RedeemRequest(token=grant.token, redemption_key=uuid.uuid4().hex, **ran), **CALL)
    except grpc.RpcError as error:
        return tell(f"not run, the grant is refused ({error.code().name})")
    report = {"outcome": "EXECUTION_OUTCOME_EXECUTED", **ran}  # the tool runs here
    runs.Complete(executions.CompleteRequest(grant_id=grant.grant_id, report=report), **CALL)
    return tell(f"{todo['tool']} ran")


nobody = {"name": "nobody answers", "tool": "tickets/read", "arguments": "{}", "sources": [], "intent": ""}
for todo, where in [*((each, address) for each in json.load(open(scenarios))), (nobody, "127.0.0.1:1")]:
    try:
        call(grpc.insecure_channel(where), todo, partial(print, f"{todo['name']}:", flush=True))
    except grpc.RpcError as error:
        print(f"{todo['name']}: not run, no decision ({error.code().name})", flush=True)
