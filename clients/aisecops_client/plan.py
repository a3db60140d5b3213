"""Writing a plan: sources first, then the steps that they led to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aisecops.v1 import plan_pb2, provenance_pb2

from aisecops_client.words import constant


@dataclass(slots=True)
class PlanBuilder:
    """Builds one ``ExecutionPlan``. ``source`` and ``step`` return the identifiers that later steps refer to."""

    intent: str = ""
    environment: str = ""
    trace_id: str = ""
    session_id: str = ""
    parent_trace_id: str = ""
    _plan: plan_pb2.ExecutionPlan = field(default_factory=plan_pb2.ExecutionPlan)

    def source(
        self,
        kind: str,
        content: str | bytes | None,
        *,
        id: str = "",
        digest: str = "",
        name: str = "",
        origin_uri: str = "",
        tool: str = "",
        step_id: str = "",
        declared_trust: str = "",
    ) -> str:
        """Add what reached the agent's context; ``kind`` is such as `user_prompt` or `tool_result`.

        Where the text may not leave the agent, ``content`` is ``None`` and ``digest`` is its SHA-256.

        Raises:
            ValueError: there is no such kind or trust level.
        """
        data = content.encode() if isinstance(content, str) else content
        source_id = id or f"source-{len(self._plan.sources) + 1}"
        trust = provenance_pb2.TRUST_LEVEL_UNSPECIFIED
        if declared_trust:
            trust = constant(provenance_pb2.TrustLevel, "TRUST_LEVEL_", declared_trust, "trust level")
        self._plan.sources.append(
            provenance_pb2.Source(
                source_id=source_id,
                kind=constant(provenance_pb2.SourceKind, "SOURCE_KIND_", kind, "kind of source"),
                name=name,
                origin_uri=origin_uri,
                content=data or b"",
                # Says also of empty content that it is known.
                digest=digest if data is None else hashlib.sha256(data).hexdigest(),
                declared_trust=trust,
                tool=tool,
                step_id=step_id,
            )
        )
        return source_id

    def step(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        id: str = "",
        capability: str = "",
        depends_on: Sequence[str] = (),
        influenced_by: Sequence[str] = (),
    ) -> str:
        """Add a call of ``tool`` (`server/tool`).

        Raises:
            ValueError: the arguments are not JSON.
            TypeError: the arguments are not JSON.
        """
        step_id = id or f"step-{len(self._plan.steps) + 1}"
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self._plan.steps.append(
            plan_pb2.Step(
                step_id=step_id,
                tool=tool,
                capability=capability,
                arguments_json=text.encode(),
                depends_on=depends_on,
                influenced_by=influenced_by,
            )
        )
        return step_id

    def delegated_by(self, agent_id: str, trace_id: str = "") -> None:
        """Add an agent above the caller, outermost first."""
        self._plan.delegation.append(plan_pb2.Delegate(agent_id=agent_id, trace_id=trace_id))

    def past_step(self, step_id: str, tool: str) -> None:
        """Add a call that already ran in this session, oldest first."""
        self._plan.history.append(plan_pb2.PastStep(step_id=step_id, tool=tool))

    def model_usage(self, model: str, *, input_tokens: int = 0, output_tokens: int = 0) -> None:
        """Add what the agent used of a model since its plan before; it is counted, and can only add."""
        self._plan.model_usage.append(
            plan_pb2.ModelUsage(model=model, input_tokens=input_tokens, output_tokens=output_tokens)
        )

    def build(self) -> plan_pb2.ExecutionPlan:
        """Return the plan so far; the builder can go on."""
        plan = plan_pb2.ExecutionPlan()
        plan.CopyFrom(self._plan)
        plan.intent, plan.environment = self.intent, self.environment
        plan.trace_id, plan.session_id = self.trace_id, self.session_id
        plan.parent_trace_id = self.parent_trace_id
        return plan
