"""The plans that the demo's agents send, read from the YAML files beside this module.

``expect`` is only for the self-check at the end: nothing that is shown comes from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml
from aisecops.v1 import plan_pb2
from aisecops_client.plan_file import plan_from_mapping

AREAS = ("support", "operations", "finance", "coding", "agents")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One agent's plan, as written and as sent. ``hijacked_by`` says in words what steered the agent, if so."""

    id: str
    area: str
    title: str
    agent: str
    hijacked_by: str
    document: Mapping[str, Any]
    plan: plan_pb2.ExecutionPlan
    expected_first: str
    expected_then: str

    @property
    def tools(self) -> dict[str, str]:
        """Return the tool of each step."""
        return {step.step_id: step.tool for step in self.plan.steps}


def scenarios() -> tuple[Scenario, ...]:
    """Return all scenarios in the order in which they are shown."""
    folder = resources.files("aisecops_server.demo") / "scenarios"
    documents = [yaml.safe_load((folder / f"{area}.yaml").read_text(encoding="utf-8")) for area in AREAS]
    return tuple(_scenario(document["area"], item) for document in documents for item in document["scenarios"])


def _scenario(area: str, item: Mapping[str, Any]) -> Scenario:
    return Scenario(
        id=item["id"],
        area=area,
        title=item["title"],
        agent=item["agent"],
        hijacked_by=item.get("hijacked_by", ""),
        document=item["plan"],
        plan=plan_from_mapping(item["plan"]),
        expected_first=item["expect"]["first"],
        expected_then=item["expect"]["then"],
    )
