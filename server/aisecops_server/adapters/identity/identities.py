"""What the operator's identities file says: who holds which role, and which credentials are withdrawn.

The file is read again when it changes. One that cannot be read stops the start; later the last good one goes on
counting, because a half-written file must neither let somebody in again nor throw everybody out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from aisecops_server.adapters.identity.watched_file import WatchedFile, bounded_content
from aisecops_server.domain.callers import spiffe
from aisecops_server.domain.callers.identity import Principal, Role
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.formats.identifiers import is_digest
from aisecops_server.domain.tables.table_rejection import why_unusable
from aisecops_server.ports import Clock

_Roles = Annotated[list[Role], Field(min_length=1)]
ReadYaml = Callable[[str, bytes], JsonValue]

_logger = logging.getLogger(__name__)


class IdentitiesFile(BaseModel):
    """The file's shape. Every part may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    people: dict[str, _Roles] = Field(
        default_factory=dict, description="Roles of people and machines by the SPIFFE id of their certificate."
    )
    claims: dict[str, _Roles] = Field(
        default_factory=dict, description="Roles by a value of the token's claim; without it values are role names."
    )
    withdrawn: list[str] = Field(
        default_factory=list, description="Ids of principals, or thumbprints of credentials, that are refused."
    )

    @field_validator("people")
    @classmethod
    def _are_people(cls, people: dict[str, list[Role]]) -> dict[str, list[Role]]:
        for name, roles in people.items():
            if spiffe.parse(name) is None:
                raise ValueError(f"'{name}' is not a SPIFFE id")
            if Role.AGENT in roles:
                raise ValueError(f"'{name}' cannot be an agent: agents are told by the path of their id")
        return people


@dataclass(slots=True)
class Identities:
    """The roles and withdrawals of one file; of none when there is no file."""

    source: tuple[WatchedFile, ReadYaml] | None = None
    _content: IdentitiesFile = field(default_factory=IdentitiesFile)
    _withdrawn: frozenset[str] = frozenset()

    def refresh(self) -> bool:
        """Read the file again if it changed; return whether something else counts now."""
        try:
            return self._read_if_changed()
        except InvalidRequestError as error:
            _logger.warning("%s; what it said before goes on counting", error.message)
            return False

    def require_readable(self) -> None:
        """Read the file for the first time.

        Raises:
            InvalidRequestError: it cannot be read or says something that it may not.
        """
        self._read_if_changed()

    def of_person(self, spiffe_id: str) -> frozenset[Role]:
        """Return the roles of a certificate's holder."""
        return frozenset(self._content.people.get(spiffe_id, ()))

    def of_claim(self, values: Iterable[str]) -> frozenset[Role]:
        """Return the roles that the values of a token's claim stand for.

        Raises:
            ValueError: a value is no role's name, and nothing says what else it stands for.
        """
        if not self._content.claims:
            return frozenset(Role(value) for value in values)
        return frozenset(role for value in values for role in self._content.claims.get(value, ()))

    def is_withdrawn(self, principal: Principal) -> bool:
        """Return whether the principal, or the very credential that proved it, is refused."""
        return principal.id in self._withdrawn or principal.thumbprint in self._withdrawn

    def _read_if_changed(self) -> bool:
        if self.source is None or not self.source[0].changed():
            return False
        watched, read_yaml = self.source
        before, self._content = self._content, _parsed(watched.path, read_yaml)
        self._withdrawn = frozenset(map(_withdrawn, self._content.withdrawn))
        return self._content != before


def open_identities(path: Path | None, *, read_yaml: ReadYaml, clock: Clock) -> Identities:
    """Return what the file at ``path`` says, or nothing without one.

    Raises:
        InvalidRequestError: it cannot be read or says something that it may not.
    """
    identities = Identities((WatchedFile(path, clock), read_yaml) if path else None)
    identities.require_readable()
    return identities


def _withdrawn(text: str) -> str:
    """Return an id as it is, and a thumbprint as ours are written, because others write it with colons."""
    plain = text.replace(":", "").lower()
    return plain if is_digest(plain) else text


def _parsed(path: Path, read_yaml: ReadYaml) -> IdentitiesFile:
    try:
        value = read_yaml(path.name, bounded_content(path))
        return IdentitiesFile.model_validate(value if isinstance(value, Mapping) else {"file": value})
    except (OSError, ValueError, AisecopsError) as error:
        raise InvalidRequestError(
            f"the identities file {path} cannot be used: {why_unusable(error)}",
            hint="It has three parts, each optional: people, claims, withdrawn",
            field="identities_file",
        ) from error
