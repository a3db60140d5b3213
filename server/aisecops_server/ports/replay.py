"""The seams of replay: what it needs from the world, and all that it can reach of it.

Everything here reads history and policy, asks engines, or keeps what a replay found. Nothing here appends to the log,
spends, grants, approves, executes or talks to anybody; a test holds the use cases of replay to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from aisecops_server.domain.bundles.bundle import Bundle, PolicyTree
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.record import LogHead
from aisecops_server.domain.policy.policy_meaning import PolicyText
from aisecops_server.domain.replays.recorded_decision import Place, RecordedDecision
from aisecops_server.domain.replays.replay import ReplayId, ReplayRecord, Selection
from aisecops_server.domain.replays.replay_part import PartAsked, PartFound
from aisecops_server.ports import PolicyEngine


class PolicyReader(Protocol):
    """Reads policy trees for what they mean."""

    async def read(self, tree: PolicyTree, *, against: PolicyTree) -> PolicyText:
        """Return the clauses of the files of ``tree`` that ``against`` has not byte for byte, and all its tables.

        Raises:
            BundleRejectedError: a file cannot be read as policy.
        """
        ...


class History(Protocol):
    """Recorded decisions, to be read again in a fixed order. Nothing can be written through it."""

    async def head(self) -> LogHead:
        """Return the log's size and Merkle root."""
        ...

    async def count(self, selection: Selection, *, until: int) -> int:
        """Return how many decisions below log index ``until`` lie in traces that may hold what is selected."""
        ...

    async def places(self, selection: Selection, *, after: Place | None, limit: int, until: int) -> list[Place]:
        """Return where these decisions stand, by trace and index, from behind ``after`` on."""
        ...

    async def strata(self, selection: Selection, *, most: int, until: int) -> dict[str, list[Place]]:
        """Return places by what their decisions have in common; of more than ``most`` traces, evenly spread ones."""
        ...

    async def read(self, places: Sequence[Place]) -> list[RecordedDecision]:
        """Return the decisions at ``places``, in their order; what is damaged or gone is told by their doubt."""
        ...

    async def of_trace(self, trace_id: str) -> list[RecordedDecision]:
        """Return the decisions of one trace, oldest first; none when there is no such trace."""
        ...

    async def decision(self, decision_id: str) -> RecordedDecision:
        """Return one decision.

        Raises:
            NotFoundError: there is none.
        """
        ...


class Engines(Protocol):
    """Engines for replay: any bundle, on any engine version that is installed."""

    @property
    def engine(self) -> str:
        """Return the name of the engine that is used unless another one is asked for."""
        ...

    def named(self, name: str) -> str:
        """Return the full name of an engine that is asked for by version or full name.

        Raises:
            EngineUnavailableError: it is not installed.
        """
        ...

    async def acquire(self, bundle: Bundle, *, engine: str) -> PolicyEngine:
        """Return a ready engine for ``bundle``, of the named kind.

        Raises:
            BundleRejectedError: the engine refuses the bundle.
            EngineUnavailableError: no such engine could be started.
        """
        ...


class Parts(Protocol):
    """Where the parts of a replay are judged: by this process, or by the workers of a cluster."""

    @property
    def at_once(self) -> int:
        """Return how many parts are worth asking for at once."""
        ...

    async def judge(self, asked: PartAsked) -> PartFound:
        """Return what becomes of the decisions of one part. Asking again is safe: nothing is acted on.

        Raises:
            BundleRejectedError, EngineUnavailableError: the policy to judge by cannot be asked.
            LogUnavailableError, IntegrityError: history cannot be read, or is not the one that was asked about.
        """
        ...


class ReplayStore(Protocol):
    """What replays found, kept so that nothing is evaluated twice. It can be made again and is no evidence."""

    async def digests(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the digests of the conclusions that are known under ``keys``."""
        ...

    async def conclusions(self, digests: Sequence[bytes]) -> dict[bytes, Mapping[str, JsonValue]]:
        """Return conclusions by their digests, as far as they are kept."""
        ...

    async def remember(
        self, digests: Mapping[bytes, bytes], conclusions: Mapping[bytes, Mapping[str, JsonValue]]
    ) -> None:
        """Keep the digests of conclusions under keys, and some conclusions under their digests."""
        ...

    async def part(self, key: str) -> Mapping[str, JsonValue] | None:
        """Return the sums of a part of a replay that was done before."""
        ...

    async def keep_part(
        self, key: str, *, sums: Mapping[str, JsonValue], results: Sequence[Mapping[str, JsonValue]]
    ) -> None:
        """Keep the sums of a part, and its results in full."""
        ...

    async def list_parts(self, replay_id: ReplayId, keys: Sequence[str]) -> None:
        """Note which parts, in their order, a replay consists of."""
        ...

    async def results(self, replay_id: ReplayId, *, part: int) -> list[Mapping[str, JsonValue]] | None:
        """Return the results of one part of a replay, by its number; ``None`` when there are no more."""
        ...

    async def keep_draft(self, tree: PolicyTree) -> None:
        """Keep the files of a draft, under the name that its content has."""
        ...

    async def draft(self, name: str) -> PolicyTree | None:
        """Return a draft by its name, if it is kept."""
        ...

    async def save(self, record: ReplayRecord) -> None:
        """Keep how far a replay is."""
        ...

    async def load(self, replay_id: ReplayId) -> ReplayRecord | None:
        """Return a replay, if there is one of that id."""
        ...

    async def records(self, *, below: str, limit: int) -> list[ReplayRecord]:
        """Return replays, newest first, that stand in the list below the one with id ``below`` (empty: all)."""
        ...
