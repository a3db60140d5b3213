"""How long payloads are kept, as people write it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aisecops_server.domain.tables.table_fields import Entry, Text, ToolName

Days = Annotated[int, Field(ge=1, le=36_500)]
FOREVER = "forever"


class RetentionTable(Entry):
    """How long what agents and people wrote is kept until `aisecops log retain`, and who releases a hold."""

    classes: dict[Text, Days | Literal["forever"]] = Field(
        default_factory=dict, description="Days after the last decision of a trace, or `forever`."
    )
    default: str = Field(default="", description="The class of what nothing else names; left out: kept forever.")
    agents: dict[Text, Text] = Field(default_factory=dict, description="Class by the agent that asked.")
    tools: dict[ToolName, Text] = Field(default_factory=dict, description="Class by a tool of a plan.")
    categories: dict[Text, Text] = Field(default_factory=dict, description="Class by the category of a fired rule.")
    release_needs: Literal[1, 2] = Field(default=2, description="How many different people release a legal hold.")

    @model_validator(mode="after")
    def _names_its_own_classes(self) -> RetentionTable:
        named = {self.default, *self.agents.values(), *self.tools.values(), *self.categories.values()} - {""}
        if unknown := sorted(named - self.classes.keys()):
            raise ValueError(f"there is no class '{unknown[0]}'")
        return self
