"""What stands beside deciding while a revision is rolled out, and where a rollout is remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aisecops_server.domain.bundles.bundle import Bundle, CommitId
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.record import DecisionRecord
from aisecops_server.domain.policy.accepted_flips import Accepted, Gates
from aisecops_server.domain.rollouts.rollout import Proposal, Rollout
from aisecops_server.domain.rollouts.rollout_tally import Tally
from aisecops_server.ports.policy import PolicyEngine


class Companion(Protocol):
    """What a decision meets of a rollout. Nothing here waits or raises: a rollout never delays a decision."""

    def engine_for(self, agent_id: str) -> PolicyEngine | None:
        """Return the candidate's engine for an agent that it decides for; ``None`` for everybody else."""
        ...

    def required(self, bundle: Bundle) -> tuple[Change, ...]:
        """Return what must hold when a decision by ``bundle`` is stored, so that it counts as the candidate's."""
        ...

    def contended(self, error: AisecopsError) -> None:
        """Take note that a decision was not stored, because a change of it did not hold."""
        ...

    def decided(self, record: DecisionRecord, details: Mapping[str, JsonValue]) -> None:
        """Take note of a decision that is on record."""
        ...

    def failed(self, bundle: Bundle, error: AisecopsError) -> None:
        """Take note that the engine of a bundle gave no decision."""
        ...


@dataclass(frozen=True, slots=True)
class NoRollout:
    """Implements ``Companion`` where nothing is rolled out."""

    def engine_for(self, agent_id: str) -> PolicyEngine | None:  # noqa: ARG002 - the port's signature
        """Return nothing."""
        return None

    def required(self, bundle: Bundle) -> tuple[Change, ...]:  # noqa: ARG002 - the port's signature
        """Return nothing."""
        return ()

    def contended(self, error: AisecopsError) -> None:
        """Do nothing."""

    def decided(self, record: DecisionRecord, details: Mapping[str, JsonValue]) -> None:
        """Do nothing."""

    def failed(self, bundle: Bundle, error: AisecopsError) -> None:
        """Do nothing."""


NO_ROLLOUT = NoRollout()


class RolloutStore(Protocol):
    """Rollouts, newest first, so that a restart goes on with the one that was under way."""

    async def newest(self) -> tuple[Rollout, Tally] | None:
        """Return the rollout that was begun last.

        Raises:
            LogUnavailableError, IntegrityError: it cannot be read.
        """
        ...

    async def recent(self, limit: int) -> Sequence[tuple[Rollout, Tally]]:
        """Return the latest rollouts."""
        ...

    async def save(self, rollout: Rollout, tally: Tally) -> None:
        """Store a rollout as it is now, durably; where replicas share it, what was counted and only if that is newer.

        Raises:
            LogUnavailableError: it could not be made durable.
        """
        ...


@dataclass(frozen=True, slots=True)
class KnownRollout:
    """A rollout as all replicas know it. ``tally`` is what somebody counted in the log and saved.

    ``others`` is what the other replicas counted of what the log does not tell, and ``problems`` are why some of them
    take no part in it now.
    """

    rollout: Rollout
    tally: Tally
    others: Tally
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeenSteps:
    """Events of rollouts in the order of the log, and the index behind everything that was looked through."""

    events: Sequence[StoredEvent]
    counted_to: int


class SharedRollouts(RolloutStore, Protocol):
    """Rollouts that several control planes follow. They are moved by the log, with ``MoveRollout``."""

    async def known(self) -> KnownRollout | None:
        """Return the rollout that was begun last.

        Raises:
            LogUnavailableError, IntegrityError: it cannot be read.
        """
        ...

    async def seen(self, from_index: int) -> SeenSteps:
        """Return some of the events by which rollouts are counted and ended, from an index on.

        Raises:
            LogUnavailableError, IntegrityError: they cannot be read.
        """
        ...

    async def share(self, rollout_id: str, own: Tally, problem: str) -> None:
        """Tell the others what this replica counted by itself, and why it takes no part, if it does not.

        Raises:
            LogUnavailableError: it could not be stored.
        """
        ...


class ProposalStore(Protocol):
    """Changes that wait for more people, by what they are."""

    async def proposal(self, subject: str) -> Proposal | None:
        """Return who asked for ``subject``, if anybody did.

        Raises:
            LogUnavailableError, IntegrityError: it cannot be read.
        """
        ...

    async def propose(self, proposal: Proposal) -> None:
        """Store who asked, durably; without voices nobody did.

        Raises:
            LogUnavailableError: it could not be made durable.
        """
        ...


@dataclass(frozen=True, slots=True)
class RolloutGate:
    """What the base lets pass, what the candidate's change says that it means, and how severe the base's rules are."""

    gates: Gates
    accepted: Accepted
    severities: Mapping[str, str]


class RolloutGates(Protocol):
    """Reads the gates of a change from its two revisions."""

    async def __call__(self, base: CommitId, candidate: CommitId) -> RolloutGate:
        """Return what is accepted between two revisions.

        Raises:
            BundleRejectedError, UnknownRevisionError: they cannot be read.
        """
        ...
