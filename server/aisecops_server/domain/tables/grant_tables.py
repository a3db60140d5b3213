"""Grants as people write them: that an agent holds a capability, until when, where, and with which arguments."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from aisecops_server.domain.tables.table_fields import Entry, Role, Text, ToolName

# What scopes are compared with is written as plainly as what they let in must be.
_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
Domain = Annotated[str, Field(pattern=rf"^(\*\.)?{_LABEL}(\.{_LABEL})*(:[0-9]{{1,5}})?$")]
_SIGNS = r"\p{L}\p{N}\p{M}_@+=()\[\]-"
_PART = rf"\.?[{_SIGNS}]([. {_SIGNS}]*[{_SIGNS}])?"
Path = Annotated[str, Field(pattern=rf"^/?{_PART}(/{_PART})*$")]
_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(2999, 12, 31)


class ScopeEntry(Entry):
    """What an argument may be: an amount within bounds, or a text that one of the others covers."""

    paths: list[Path] = Field(default_factory=list, description="Files, and folders with all that is below them.")
    domains: list[Domain] = Field(
        default_factory=list,
        description="Hosts of addresses and URLs; `*.corp.example` covers those below, a port only itself.",
    )
    recipients: list[Text] = Field(default_factory=list, description="Whole addresses, channels or ids, as written.")
    values: list[str | int | bool] = Field(default_factory=list, description="Exactly these.")
    at_least: int | None = Field(default=None, description="The smallest amount; left out beside at_most: 0.")
    at_most: int | None = Field(default=None, description="The largest amount. What is no number is outside.")
    optional: bool = Field(default=False, description="Whether the argument may be missing.")

    @model_validator(mode="after")
    def _says_one_kind(self) -> ScopeEntry:
        bounded = self.at_most is not None
        if not bounded and self.at_least is not None:
            raise ValueError("at_least needs an at_most")
        if bounded == bool(self.paths or self.domains or self.recipients or self.values):
            raise ValueError("give either at_most, or some of paths, domains, recipients and values")
        if bounded and (self.at_least or 0) > (self.at_most or 0):
            raise ValueError("at_least is above at_most")
        return self


class GrantEntry(Entry):
    """That an agent holds a capability, and who said so. What is left out does not narrow it."""

    granted_by: Text
    expires: str | None = Field(default=None, description="The last day (YYYY-MM-DD, UTC) on which it counts.")
    environments: list[Text] | None = Field(default=None, min_length=1, description="Where it counts.")
    scopes: dict[Text, ScopeEntry] = Field(
        default_factory=dict, description="By argument, or by pointer (`/options/path`) into one."
    )
    role_scopes: dict[Role, ScopeEntry] = Field(
        default_factory=dict, description="By role: each argument to which data/tools.yaml gives it."
    )
    unscoped: list[ToolName] = Field(
        default_factory=list,
        description="Tools that it covers whatever their arguments. What scopes say nothing of is not covered.",
    )

    @field_validator("expires")
    @classmethod
    def _is_a_day(cls, value: str | None) -> str | None:
        if value is not None and not _is_day(value):
            raise ValueError(f"give a day as YYYY-MM-DD, from {_FIRST_DAY} to {_LAST_DAY}")
        return value

    @model_validator(mode="after")
    def _means_something(self) -> GrantEntry:
        if self.unscoped and not self.is_scoped:
            raise ValueError("unscoped says nothing where there are no scopes")
        return self

    @property
    def is_scoped(self) -> bool:
        """Return whether it narrows arguments."""
        return bool(self.scopes or self.role_scopes)

    @property
    def is_narrowed(self) -> bool:
        """Return whether anything narrows it."""
        return self.is_scoped or self.expires is not None or self.environments is not None

    @property
    def expires_at_seconds(self) -> int | None:
        """Return when it no longer counts: at the end of its last day."""
        if self.expires is None:
            return None
        day = date.fromisoformat(self.expires) + timedelta(days=1)
        return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _is_day(text: str) -> bool:
    try:
        return len(text) == len("2026-01-31") and _FIRST_DAY <= date.fromisoformat(text) <= _LAST_DAY
    except ValueError:
        return False
