"""How far adoption is: every question of every phase answered from records, with what to look at.

Answers come from the log, the live revision's tables, the replays and the last checkpoint. Nothing is counted for it
beforehand, so nothing can say otherwise than what it is read from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aisecops_server.domain.agents.agent import entries, entry_of
from aisecops_server.domain.agents.maturity import (
    CRITERIA,
    AdoptionRecords,
    Evidence,
    Maturity,
    Measured,
    Reference,
    judged,
    of_traces,
    percent,
)
from aisecops_server.domain.approvals.approval import ApprovalState
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError, NotFoundError
from aisecops_server.domain.formats.signed_note import Note, opened
from aisecops_server.domain.grants.grant import GrantState
from aisecops_server.domain.log.checkpoint import read_checkpoint
from aisecops_server.domain.replays.replay import ReplayRecord, ReplayState
from aisecops_server.ports import Clock
from aisecops_server.ports.maturity import AdoptionReader, PolicyPlaces
from aisecops_server.usecases.log.checkpoint import PublishCheckpoint
from aisecops_server.usecases.replays.read_replays import ReadReplays

_DAY_NS = 24 * 60 * 60 * 1_000_000_000
# Replays are few; one that is older than so many others is not the last of its kind.
_REPLAYS = 100
_ANSWERED = frozenset({ApprovalState.GRANTED, ApprovalState.REJECTED, ApprovalState.CONSUMED})
_REPORTED = frozenset({GrantState.EXECUTED, GrantState.FAILED})
_OVER = _REPORTED | {GrantState.EXPIRED_UNKNOWN}
Places = Mapping[tuple[str, ...], str]


@dataclass(frozen=True, slots=True)
class MaturityReport:
    """How far all agents are together, and each of those that policy knows or that asked, by id."""

    overall: Maturity
    agents: tuple[Maturity, ...]
    revision: str
    since_ns: int
    decisions: int


@dataclass(frozen=True, slots=True)
class ReadMaturity:
    """Reads how far adoption is. ``live`` gives the bundle of the live revision."""

    live: Callable[[], Bundle]
    records: AdoptionReader
    places: PolicyPlaces
    publish: PublishCheckpoint
    replays: ReadReplays
    clock: Clock

    async def __call__(self, *, agent_id: str = "") -> MaturityReport:
        """Return how far all agents are; with ``agent_id``, of the agents that one alone.

        Raises:
            NotFoundError: policy does not know the agent, and it did not ask within the window.
            InvalidRequestError: the live policy does not say what a phase takes.
            NoLiveRevisionError: nothing is live.
        """
        bundle = self.live()
        table = _table(bundle)
        now = self.clock.now_ns()
        since = now - int(table["window_days"]) * _DAY_NS
        records = await self.records.records(
            since_ns=since, now_seconds=now // 1_000_000_000, limit=int(table["records"])
        )
        world = _World(
            bundle=bundle,
            table=table,
            places=await self._places(bundle),
            replays=(await self.replays.page(page_size=_REPLAYS, page_token="")).replays,
            note=await self.publish.store.latest(),
            publish=self.publish,
            now_ns=now,
        )
        known = sorted({*entries(bundle.tables), *(fact.agent_id for fact in records.decisions)})
        if agent_id and agent_id not in known:
            raise NotFoundError(
                f"there is no agent {agent_id}",
                hint="'aisecops agent list' shows those that policy knows or that asked",
                id=agent_id,
            )
        return MaturityReport(
            overall=world.maturity(records, ""),
            agents=tuple(world.maturity(records.of(name), name) for name in known if agent_id in ("", name)),
            revision=bundle.revision,
            since_ns=since,
            decisions=len(records.decisions),
        )

    async def _places(self, bundle: Bundle) -> Places:
        try:
            return await self.places.places(bundle.revision)
        except AisecopsError:
            # Answers hold without them; only the lines to look at are missing while the repository is away.
            return {}


@dataclass(frozen=True, slots=True)
class _World:
    """Everything that the answers are read from, besides the records."""

    bundle: Bundle
    table: Mapping[str, Any]
    places: Places
    replays: tuple[ReplayRecord, ...]
    note: Note | None
    publish: PublishCheckpoint
    now_ns: int
    _known: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", entries(self.bundle.tables))

    def maturity(self, records: AdoptionRecords, agent_id: str) -> Maturity:
        """Return how far one agent is, or all of them."""
        entry = entry_of(self.bundle.tables, agent_id) if agent_id else None
        measured = {
            "registered_percent": self._registered(records, agent_id),
            "decisions": Measured(len(records.decisions), of_traces(records.decisions)),
            "enforced_percent": self._enforced(records, agent_id),
            "observed_rules": self._observed_rules(),
            "answered_percent": _answered(records),
            "limited_percent": self._limited(agent_id),
            "reported_percent": _reported(records),
            "replay_days": self._replay(agent_id),
            "witnesses": self._witnesses(),
            "incidents": Measured(len(records.incidents), of_traces(records.incidents)),
            "enforcement_points": _enforcement_points(records),
        }
        return Maturity(agent_id, entry.owner if entry else "", judged(measured, self.table, CRITERIA))

    def _registered(self, records: AdoptionRecords, agent_id: str) -> Measured:
        asked = {agent_id} if agent_id else {fact.agent_id for fact in records.decisions}
        strangers = asked - self._known.keys()
        if not asked:
            return Measured(None, note="nobody asked")
        seen = of_traces(fact for fact in records.decisions if fact.agent_id in strangers)
        named = tuple(Evidence(Reference.AGENT, name) for name in sorted(strangers))
        known = tuple(place for name in sorted(asked) for place in self._at("agents", name))
        note = f"{len(strangers)} of {len(asked)} are not registered" if strangers and not agent_id else ""
        evidence = (*named[:1], *seen) if strangers else known
        return Measured(percent(len(asked) - len(strangers), len(asked)), evidence, note)

    def _enforced(self, records: AdoptionRecords, agent_id: str) -> Measured:
        if not records.decisions:
            return Measured(None, note="nothing was decided")
        others = [fact for fact in records.decisions if (fact.mode, fact.policy_mode) != ("ENFORCE", "enforce")]
        place = self._at("modes", "agents", agent_id) or self._at("modes", "default")
        evidence = (*place, *of_traces(others or records.decisions))
        return Measured(percent(len(records.decisions) - len(others), len(records.decisions)), evidence)

    def _observed_rules(self) -> Measured:
        modes: Any = self.bundle.tables.get("modes", {})
        found = sorted(rule for rule, mode in modes.get("rules", {}).items() if mode == "observe")
        evidence = [place for rule in found for place in self._at("modes", "rules", rule)]
        return Measured(len(found), tuple(evidence) or self._at("modes", "rules"), ", ".join(found))

    def _limited(self, agent_id: str) -> Measured:
        agents = [agent_id] if agent_id else sorted(self._known)
        if not agents:
            return Measured(None, note="no agent is registered")
        without = [name for name in agents if not self._known.get(name, {}).get("limited")]
        shown = [place for name in without or agents for place in self._budget_place(name)]
        note = f"{len(without)} of {len(agents)} have none" if without and not agent_id else ""
        return Measured(percent(len(agents) - len(without), len(agents)), tuple(dict.fromkeys(shown)), note)

    def _budget_place(self, agent_id: str) -> tuple[Evidence, ...]:
        profile = str(self._known.get(agent_id, {}).get("profile", ""))
        return self._at("budgets", "profiles", profile, "limits") or self._at("budgets", "profiles", profile)

    def _replay(self, agent_id: str) -> Measured:
        for replay in self.replays:
            if replay.state is ReplayState.DONE and _is_trusted(replay) and _is_about(replay, agent_id):
                days = max(0, self.now_ns - replay.finished_at_ns) // _DAY_NS
                return Measured(days, (Evidence(Reference.REPLAY, replay.id),))
        return Measured(None, note="no replay that can be trusted")

    def _witnesses(self) -> Measured:
        if self.note is None:
            return Measured(None, note="no checkpoint was made")
        keys = [witness.key for witness in self.publish.witnesses]
        signed = sorted(opened(self.note, keys, self.publish.verify))
        size = read_checkpoint(self.note.text).head.size
        checkpoint = Evidence(Reference.CHECKPOINT, self.publish.keys.origin, size - 1)
        return Measured(len(signed), (checkpoint, *(Evidence(Reference.WITNESS, name) for name in signed)))

    def _at(self, *path: str) -> tuple[Evidence, ...]:
        place = self.places.get(path)
        return (Evidence(Reference.POLICY, place),) if place else ()


def _answered(records: AdoptionRecords) -> Measured:
    over = [fact for fact in records.requests if fact.state in _ANSWERED or fact.state is ApprovalState.EXPIRED]
    if not over:
        return Measured(None, note="nothing waited for people", applies=False)
    missed = [fact for fact in over if fact.state not in _ANSWERED]
    return Measured(percent(len(over) - len(missed), len(over)), of_traces(missed or over))


def _reported(records: AdoptionRecords) -> Measured:
    over = [fact for fact in records.grants if fact.state in _OVER]
    if not over:
        return Measured(None, note="no grant ended")
    missed = [fact for fact in over if fact.state not in _REPORTED]
    return Measured(percent(len(over) - len(missed), len(over)), of_traces(missed or over))


def _enforcement_points(records: AdoptionRecords) -> Measured:
    by: dict[str, Any] = {}
    for fact in records.grants:
        if fact.redeemed_by:
            by.setdefault(fact.redeemed_by, fact)
    return Measured(len(by), of_traces(by.values()), ", ".join(sorted(by)[:3]))


def _is_trusted(replay: ReplayRecord) -> bool:
    report: Any = replay.report or {}
    return bool(report.get("fidelity", {}).get("trustworthy"))


def _is_about(replay: ReplayRecord, agent_id: str) -> bool:
    selection: Any = replay.question.get("selection") or {}
    return not any(_narrowed(selection, agent_id))


def _narrowed(selection: Mapping[str, Any], agent_id: str) -> Iterable[bool]:
    for name, value in selection.items():
        # How far back a replay looked is its own matter; whose decisions it left out is not.
        yield bool(value) and name not in ("from_micros", "to_micros") and (name, value) != ("agent_id", agent_id)


def _table(bundle: Bundle) -> Mapping[str, Any]:
    found: Any = bundle.tables.get("maturity")
    if not found:
        raise InvalidRequestError(
            "the live policy does not say what a phase takes",
            hint="Add data/maturity.yaml to the policy; 'aisecops dev policy DIR' writes one to start from",
            field="data/maturity.yaml",
        )
    return dict(found)
