"""An agent as a process of its own, told line by line what to do, so that it can be killed in any moment.

    python -m tests.scenes.budgets.budget_client ADDRESS TOKEN

Lines in: ``decide KEY SESSION STEPS`` or ``complete STEP TOKENS``, where STEP counts from 0 in what was decided last.
Lines out: ``OUTCOME DECISION``, ``done`` or ``error REASON``.
"""

from __future__ import annotations

import os
import sys

from aisecops.v1 import decision_pb2, execution_service_pb2, grant_pb2
from aisecops_client import AisecopsClientError, Client, PlanBuilder


class Agent:
    """One agent and the grants of what it was allowed last."""

    def __init__(self, address: str, token: str) -> None:
        self.place = (address, token)
        self.client = Client.connect(address, token)
        self.grants: list[grant_pb2.Grant] = []

    def told(self, line: str) -> str:
        """Do what a line says, and return what came of it."""
        word, *rest = line.split()
        try:
            return self.decide(*rest) if word == "decide" else self.complete(*rest)
        except AisecopsClientError as error:
            # A connection that failed waits before it tries again; a new one does not.
            self.client.close()
            self.client = Client.connect(*self.place)
            return f"error {error.reason or error.code.name}"

    def decide(self, key: str, session: str, steps: str) -> str:
        plan = PlanBuilder(intent="race", session_id=session)
        for _ in range(int(steps)):
            plan.step("mail/read", {})
        answer = self.client.decide(plan, idempotency_key=key)
        self.grants = list(answer.grants)
        return f"{decision_pb2.Outcome.Name(answer.decision.outcome)[8:]} {answer.decision.decision_id}"

    def complete(self, step: str, tokens: str) -> str:
        grant = self.grants[int(step)]
        self.client.complete(
            execution_service_pb2.CompleteRequest(
                grant_id=grant.grant_id,
                report=execution_service_pb2.ExecutionReport(
                    outcome=execution_service_pb2.EXECUTION_OUTCOME_EXECUTED,
                    tool=grant.tool,
                    arguments_sha256=grant.arguments_sha256,
                    cost=execution_service_pb2.ExecutionCost(tokens=int(tokens)),
                ),
            )
        )
        return "done"


if __name__ == "__main__":
    agent = Agent(sys.argv[1], sys.argv[2])
    os.write(1, b"ready\n")
    for told in sys.stdin:
        # One unbuffered write: whoever reads the line has it, whatever happens to this process next.
        os.write(1, f"{agent.told(told)}\n".encode())
