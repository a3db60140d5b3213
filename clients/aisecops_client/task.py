"""One task of an agent: everything that its model has read so far, so that no call is judged without it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aisecops.v1.plan_pb2 import ExecutionPlan, Step
from aisecops_grant.arguments import canonical_arguments

from aisecops_client.answers import Answer
from aisecops_client.guarded import content_digest
from aisecops_client.obligations import Duty, keeps_content
from aisecops_client.plan import PlanBuilder


@dataclass(slots=True)
class Task:
    """Collects sources and earlier calls. Results of guarded calls are added by themselves."""

    plan: PlanBuilder
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def source(self, kind: str, content: str | bytes | None, **about: str) -> str:
        """Add what reached the agent's context, as ``PlanBuilder.source`` does; ``kind`` is such as `user_prompt`.

        Raises:
            ValueError: there is no such kind or trust level.
        """
        return self.plan.source(kind, content, **about)

    def delegated_by(self, agent_id: str, trace_id: str = "") -> None:
        """Add an agent on whose behalf the task is, outermost first."""
        self.plan.delegated_by(agent_id, trace_id)

    def proposal(self, tool: str, arguments: Mapping[str, Any]) -> tuple[ExecutionPlan, Step]:
        """Return the plan of one call, with all that influenced it.

        Raises:
            TypeError, ValueError: the arguments are not JSON, or have no exact form.
        """
        plan = self.plan.build()
        step = plan.steps.add(
            step_id=f"step-{next(self._numbers)}", tool=tool, arguments_json=canonical_arguments(arguments)
        )
        return plan, step

    def joined(self, answer: Answer) -> None:
        """Belong to the trace in which the first call was decided."""
        self.plan.trace_id = self.plan.trace_id or answer.decision.trace_id

    def ran(self, step: Step, result: Any, duties: Sequence[Duty]) -> None:
        """Add a call that was made, and its result as a source."""
        self.plan.past_step(step.step_id, step.tool)
        about = {"tool": step.tool, "step_id": step.step_id, "name": f"result of {step.tool}"}
        if keeps_content(duties):
            self.plan.source("tool_result", _text(result), **about)
        else:
            self.plan.source("tool_result", None, digest=content_digest(result), **about)


def _text(result: Any) -> str | bytes:
    if isinstance(result, str):
        return result.encode("utf-8", "replace")
    if isinstance(result, bytes | bytearray):
        return bytes(result)
    try:
        return json.dumps(result, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    except (TypeError, ValueError):
        # What a model is shown of such a value is what it prints.
        return str(result).encode("utf-8", "replace")
