"""Approvals as people write them: when people must agree, who they are, and how many of them it takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from aisecops_server.domain.decisions.decision import MOST_APPROVAL_SECONDS
from aisecops_server.domain.tables.table_fields import Count, Entry, Text, ToolName

Quorum = Annotated[int, Field(ge=1, le=16)]
Lifetime = Annotated[int, Field(ge=1, le=MOST_APPROVAL_SECONDS)]


class ApprovalEntry(Entry):
    """When people must agree to a call of a tool, and who; what is left out is as for every other tool."""

    always: bool = False
    amount_argument: str = ""
    amount_over: Count = Field(default=0, description="Agreement is needed above this amount.")
    approvers_required: Quorum | None = None
    groups: list[Text] | None = Field(default=None, min_length=1)
    expires_seconds: Lifetime | None = None

    @model_validator(mode="after")
    def _says_when(self) -> ApprovalEntry:
        if not self.always and not self.amount_argument:
            raise ValueError("say 'always: true' or name the amount_argument")
        return self


class ApprovalsTable(Entry):
    """How many people, of which groups, for how long, and for which tools."""

    approvers_required: Quorum = Field(description="Different people; never the agent, nor anybody of its owner.")
    groups: list[Text] = Field(default_factory=list, description="Who may approve; left out: anybody who may vote.")
    expires_seconds: Lifetime = Field(default=MOST_APPROVAL_SECONDS, description="How long an approval lasts.")
    tools: dict[ToolName, ApprovalEntry] = Field(default_factory=dict)


class PersonEntry(Entry):
    """A person who may approve. The key is the name by which they are counted."""

    aliases: list[Text] = Field(default_factory=list, description="Other ids by which credentials name them.")
    teams: list[Text] = Field(
        default_factory=list,
        description="Teams that they are in; whoever is in an agent's owner never approves for it.",
    )
    groups: list[Text] = Field(default_factory=list, description="Groups of approvers that they are in.")
    keys: list[dict[str, str]] = Field(
        default_factory=list, description="Public keys (JWK) with which they sign votes themselves."
    )
