"""What entries of all tables share: how they are read, and the kinds of names and figures that stand in them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["destination", "object", "content", "amount", "query", "command", "setting"]
Text = Annotated[str, Field(min_length=1)]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]+/[A-Za-z0-9_.\-]+$")]
Count = Annotated[int, Field(ge=0)]


class Entry(BaseModel):
    """What every entry is: frozen, of exactly these fields, of exactly these types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
