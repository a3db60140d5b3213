"""What the files of gates share: entries that somebody answers for, for a reason, until a day, and no longer than that.

The day of today is handed in, because nothing here reads a clock.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator

from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tables.table_fields import Entry, Text
from aisecops_server.domain.tables.table_rejection import told

MOST_DAYS = 366
Reason = Annotated[str, Field(min_length=10, description="Why this is right; people read it when it is found again.")]
_Model = TypeVar("_Model", bound=BaseModel)


class DatedEntry(Entry):
    """Something that is let pass: who answers for it, why, and the last day (UTC) on which it counts."""

    owner: Text = Field(description="Who answers for it.")
    reason: Reason
    expires: str = Field(description="The last day (YYYY-MM-DD, UTC) on which it counts; at most a year ahead.")

    @field_validator("expires")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        try:
            date.fromisoformat(value)
        except ValueError as error:
            raise ValueError("give a day as YYYY-MM-DD") from error
        if len(value) != len("2026-01-31"):
            raise ValueError("give a day as YYYY-MM-DD")
        return value

    def problem_on(self, today: date) -> str:
        """Return why it does not count on a day, or nothing."""
        left = (date.fromisoformat(self.expires) - today).days
        if left < 0:
            return f"it expired on {self.expires}"
        return f"it lasts longer than {MOST_DAYS} days" if left > MOST_DAYS else ""


def read_entries(path: str, content: JsonValue, model: type[_Model]) -> _Model:
    """Return what a file of gates says.

    Raises:
        BundleRejectedError: it says something else; ``metadata()["file"]`` names it.
    """
    try:
        return TypeAdapter(model).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleRejectedError(
            f"{path}: {where}: {told(first)}" if where else f"{path}: {told(first)}",
            hint=f"The schema of {path} lists its fields; 'aisecops policy schemas' writes it for your editor",
            file=path,
        ) from error
