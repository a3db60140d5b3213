"""Who is asking: always what a credential proved, never what a message says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

PrincipalId = NewType("PrincipalId", str)


class Role(StrEnum):
    """What a credential lets its holder do."""

    AGENT = "agent"
    SECURITY = "security"
    PLATFORM = "platform"
    SECOPS = "secops"
    APP = "app"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated identity."""

    id: PrincipalId
    authenticated_by: str
    roles: frozenset[Role]
