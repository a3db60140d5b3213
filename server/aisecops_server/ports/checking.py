"""The seams of checking a policy before it is merged: what is checked, who checks it, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from aisecops_server.domain.bundles.bundle import PolicyTree
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_check import CheckName, CheckResult


@dataclass(frozen=True, slots=True)
class CheckedPolicy:
    """A policy to check: its tree, the lists of owners for Git hosts, what it is compared with, and the day of today.

    ``own`` are its Rego files that do not stand so in the library of this version.
    """

    name: str
    tree: PolicyTree
    today: date
    own: frozenset[str]
    owners: Mapping[str, bytes] = field(default_factory=dict)
    base: PolicyTree | None = None
    base_name: str = ""
    shipped: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def has_own_library(self) -> bool:
        """Return whether it changes what all rules stand on, so that all of them must be tried again."""
        return any(not path.startswith("rego/aisecops/rules/") for path in self.own)


class PolicyCheck(Protocol):
    """One check."""

    @property
    def name(self) -> CheckName:
        """Return which check it is."""
        ...

    def reads(self, policy: CheckedPolicy) -> Mapping[str, JsonValue]:
        """Return everything that the answer depends on, by name: digests of files, and what else is looked at."""
        ...

    async def __call__(self, policy: CheckedPolicy) -> CheckResult:
        """Return what is found.

        Raises:
            EngineUnavailableError: there is no engine to check with.
        """
        ...


class CheckMemory(Protocol):
    """What earlier checks found, by a digest of everything that they read. It can be made again."""

    async def load(self, key: str) -> Mapping[str, JsonValue] | None:
        """Return what is kept under ``key``."""
        ...

    async def save(self, key: str, found: Mapping[str, JsonValue]) -> None:
        """Keep what was found."""
        ...
