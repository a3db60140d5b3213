"""Tenants: the settings of each, over a state directory of its own, and how credentials say whose they are.

A tenant shares nothing with another but the process, its listeners, its queue and what proves who calls: policy,
engines, log, keys, books and replays are its own. A control plane without ``tenants_file`` is one tenant likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.adapters.identity.watched_file import bounded_content
from aisecops_server.adapters.postgres.place import role_in
from aisecops_server.domain.callers import spiffe
from aisecops_server.domain.callers.identity import DEFAULT_TENANT
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tables.table_rejection import why_unusable
from aisecops_server.domain.tenants.tenant import MOST_TENANTS, is_tenant_name
from aisecops_server.settings import Settings

FOLDER = "tenants"
# What is said of each tenant cannot be said of all, and what several cannot have yet is refused and not left out.
_OF_EACH = ("repository", "follow", "channel", "channel_keys", "trigger_secret_file", "webhooks", "log_origin")
_OF_ONE = ("cluster",)


class TenantEntry(BaseModel):
    """What the file says of one tenant. Where it is silent, what the settings say of all counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str = Field(min_length=1, description="Its policy repository: a path or a URL.")
    branch: str = Field(default="", description="The branch whose head is wanted live.")
    follow: str = Field(default="", description="What is followed in the place of `branch`.")
    channel: str = Field(default="", description="Which release channel it is.")
    channel_keys: tuple[Path, ...] = Field(
        default=(), description="PEM public keys that its channel's announcements are signed with."
    )
    trigger_secret_file: Path | None = Field(
        default=None, description="The secret of its Git host, which calls `/hooks/git/NAME`."
    )
    webhooks: tuple[str, ...] = Field(default=(), description="Who is told of its requests for approval.")
    log_origin: str = Field(default="", description="The name of its log in checkpoints.")
    database_url: str = Field(
        default="", description="The PostgreSQL database with its log, where it is not that of all, or its role is not."
    )
    callers: tuple[str, ...] = Field(
        default=(),
        description="Whose certificates are of it: SPIFFE ids, or beginnings of ids that end in a slash.",
    )

    @field_validator("callers")
    @classmethod
    def _are_ids(cls, callers: tuple[str, ...]) -> tuple[str, ...]:
        for caller in callers:
            if spiffe.parse(caller.removesuffix("/")) is None:
                raise ValueError(f"'{caller}' is neither a SPIFFE id nor how one begins")
        return callers


@dataclass(frozen=True, slots=True)
class Tenants:
    """The settings of each tenant by name. ``callers`` is ``None`` where credentials say nothing of tenants."""

    settings: Mapping[str, Settings]
    callers: Mapping[str, str] | None = None

    def of(self, name: str) -> Settings:
        """Return the settings of one tenant; ``name`` may be empty where there is only one.

        Raises:
            InvalidRequestError: there is none of that name, or it is not said which of several.
        """
        if not name and len(self.settings) == 1:
            return next(iter(self.settings.values()))
        found = self.settings.get(name)
        if found is None:
            raise InvalidRequestError(
                f"there is no tenant '{name}'" if name else "there are several tenants",
                hint=f"Name one with --tenant: {', '.join(self.settings)}",
                field="tenant",
            )
        return found


def read_tenants(settings: Settings) -> Tenants:
    """Return the tenants of a control plane.

    Raises:
        InvalidRequestError: the file cannot be used, or a setting does not go with several tenants.
    """
    if settings.tenants_file is None:
        if settings.tenant:
            raise InvalidRequestError(
                f"there is no tenant '{settings.tenant}' here, because there is no tenants_file",
                hint="Set it to the YAML file of tenants, or leave --tenant and AISECOPS_TENANT out",
                field="tenant",
            )
        return Tenants({DEFAULT_TENANT: settings})
    _require_fitting(settings)
    entries = _entries(settings.tenants_file)
    callers: dict[str, str] = {}
    for name, entry in entries.items():
        for caller in entry.callers:
            if of := _holder(caller, callers) - {name}:
                raise _unusable(settings.tenants_file, f"{caller} is of {of.pop()} and of {name}")
            callers[caller] = name
    return Tenants({name: _settings_of(name, entry, settings) for name, entry in entries.items()}, callers)


def _holder(caller: str, callers: Mapping[str, str]) -> set[str]:
    """Return whose tenants' an id, or all ids that begin so, would be already, or some of them."""
    return {
        name
        for place, name in callers.items()
        if caller == place
        or (place.endswith("/") and caller.startswith(place))
        or (caller.endswith("/") and place.startswith(caller))
    }


def _require_fitting(settings: Settings) -> None:
    for name in _OF_EACH:
        if getattr(settings, name):
            raise InvalidRequestError(
                f"{name} is set for all tenants, and each has its own",
                hint=f"Say it of each in {settings.tenants_file}",
                field=name,
            )
    if settings.database_url and (role := role_in(settings.database_url)):
        raise InvalidRequestError(
            f"database_url names the role {role} for all tenants, and each has its own",
            hint="Leave the role out: each tenant's log is reached as aisecops_tenant_NAME, made by 'aisecops db init'",
            field="database_url",
        )
    for name in _OF_ONE:
        if getattr(settings, name):
            raise InvalidRequestError(
                f"{name} cannot be used by several tenants yet",
                hint="Leave it out, or run a control plane for each tenant",
                field=name,
            )


def _entries(path: Path) -> Mapping[str, TenantEntry]:
    try:
        named = _named(parse_yaml(path.name, bounded_content(path)))
        return {name: TenantEntry.model_validate(entry) for name, entry in named.items()}
    except (OSError, ValueError, AisecopsError) as error:
        raise _unusable(path, why_unusable(error)) from error


def _named(content: JsonValue) -> Mapping[str, JsonValue]:
    if not isinstance(content, Mapping) or not content:
        raise ValueError("it is not a mapping of names to tenants")
    for name in content:
        if not is_tenant_name(name):
            raise ValueError(f"'{name}' cannot name a tenant; take a-z, 0-9 and dashes, and not '{DEFAULT_TENANT}'")
    if len(content) > MOST_TENANTS:
        raise ValueError(f"it names more than {MOST_TENANTS} tenants")
    return content


def _settings_of(name: str, entry: TenantEntry, settings: Settings) -> Settings:
    own: dict[str, Any] = {
        field: value for field, value in entry.model_dump(exclude={"callers"}).items() if value not in ("", None, ())
    }
    values = settings.model_dump(exclude_unset=True) | own
    values |= {
        "state_dir": settings.state_dir / FOLDER / name,
        # Everybody comes in by the same doors.
        "listen_socket": settings.socket,
        "tenants_file": None,
        "tenant": name,
    }
    try:
        return Settings(**values)
    except ValidationError as error:
        raise _unusable(settings.tenants_file, f"{name}: {why_unusable(error)}") from error


def _unusable(path: Path | None, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the tenants file {path} cannot be used: {why}",
        hint="It gives each tenant by its name a repository",
        field="tenants_file",
    )
