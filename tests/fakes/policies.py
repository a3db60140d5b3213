"""Stand-ins for what activation touches, each of which can be told to fail, to wait, or to answer wrongly."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aisecops_server.domain.bundles.bundle import Activated, Bundle, BundleDigest, Commit, CommitId, PolicyTree
from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.errors import AisecopsError, LogUnavailableError, UnknownRevisionError
from aisecops_server.domain.events.event import Event, EventId
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.record import Receipt

from tests.fakes.verdicts import whole

DENIAL: dict[str, JsonValue] = {
    "rule": "identity.unknown_agent",
    "title": "Unknown agent",
    "message": "nobody registered this agent",
    "effect": "deny",
    "severity": "high",
    "step": "",
    "facts": [],
    "remedy": "",
}


def commit_id(number: int) -> CommitId:
    return CommitId(f"{number:040x}")


def answer(document: bytes, outcome: str = "DENY") -> JsonValue:
    """Return a decision that agrees with itself."""
    asked = json.loads(document)
    steps = asked["plan"]["steps"] if "plan" in asked else asked["parts"]
    return whole(
        {
            "outcome": outcome,
            "findings": [DENIAL] if outcome == "DENY" else [],
            "steps": [{"id": step["id"], "outcome": outcome} for step in steps],
        }
    )


@dataclass(eq=False)
class FakeEngine:
    bundle: Bundle
    answers: Callable[[bytes], JsonValue] = answer
    revision: str = ""
    gate: asyncio.Event | None = None

    async def evaluate(self, document: bytes, *, deadline_seconds: float) -> Verdict:
        if self.gate is not None:
            await self.gate.wait()
        return Verdict(self.answers(document), self.revision or self.bundle.revision, "fake", 1)

    async def evaluate_batch(
        self, documents: Sequence[bytes], *, deadline_seconds: float
    ) -> list[Verdict | AisecopsError]:
        return [await self.evaluate(document, deadline_seconds=deadline_seconds) for document in documents]

    async def explain(self, document: bytes, *, deadline_seconds: float) -> str:
        return ""


@dataclass
class FakePool:
    engines: dict[str, FakeEngine] = field(default_factory=dict)
    failures: dict[str, AisecopsError] = field(default_factory=dict)
    answers: dict[str, Callable[[bytes], JsonValue]] = field(default_factory=dict)
    retained: list[str] = field(default_factory=list)
    anticipations: list[str] = field(default_factory=list)
    starting: asyncio.Event | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def acquire(self, bundle: Bundle) -> FakeEngine:
        self.reached.set()
        if self.starting is not None:
            await self.starting.wait()
        if failure := self.failures.get(bundle.revision):
            raise failure
        made = FakeEngine(bundle, self.answers.get(bundle.revision, answer))
        return self.engines.setdefault(bundle.digest, made)

    @asynccontextmanager
    async def anticipated(self) -> AsyncIterator[None]:
        self.anticipations.append("begun")
        try:
            yield
        finally:
            self.anticipations.append("ended")

    async def retain(self, digests: Sequence[str]) -> None:
        self.retained = list(digests)

    async def close(self) -> None:
        self.engines.clear()


@dataclass
class FakeBuilder:
    failures: dict[str, AisecopsError] = field(default_factory=dict)
    built: list[str] = field(default_factory=list)
    version: str = "v1"
    store: dict[str, Bundle] = field(default_factory=dict)

    async def build(self, tree: PolicyTree) -> Bundle:
        self.built.append(tree.commit)
        if failure := self.failures.get(tree.commit):
            raise failure
        digest = BundleDigest(f"digest-{self.version}-{tree.commit}")
        self.store[tree.commit] = Bundle(tree.commit, digest, Path("/nowhere"), (), ("mail/send",))
        return self.store[tree.commit]

    async def stored(self, revision: CommitId) -> Bundle | None:
        return self.store.get(revision)


@dataclass
class FakeRepository:
    """A branch as a list of commits; ``parents`` tells descent."""

    branch: str = ""
    parents: dict[str, str] = field(default_factory=dict)
    remote: str = ""
    failure: AisecopsError | None = None
    fetches: int = 0
    # Whoever reads the head waits here.
    gate: asyncio.Event | None = None
    # Whoever asks what a commit descends from waits here, and is told of.
    slow: dict[str, asyncio.Event] = field(default_factory=dict)
    asked_of: list[str] = field(default_factory=list)

    def push(self, number: int, *, parent: int | None = None) -> CommitId:
        """Add a commit at the remote; by default on top of its head."""
        made = commit_id(number)
        self.parents[made] = self.remote if parent is None else commit_id(parent)
        self.remote = made
        return made

    async def fetch(self) -> None:
        self.fetches += 1
        if self.failure is not None:
            raise self.failure
        self.branch = self.remote

    async def head(self) -> CommitId:
        if self.gate is not None:
            await self.gate.wait()
        return self._known(CommitId(self.branch))

    async def resolve(self, name: str) -> CommitId:
        return self._known(CommitId(self.branch if name == "main" else name))

    async def commit(self, commit_id: CommitId) -> Commit:
        return Commit(self._known(commit_id), "Ada", f"commit {int(commit_id, 16)}", 1_700_000_000)

    async def commits(self, *, after: str, limit: int) -> list[Commit]:
        lineage = self._lineage(self.parents[self._known(CommitId(after))] if after else await self.head())
        return [await self.commit(CommitId(one)) for one in itertools.islice(lineage, limit)]

    async def is_descendant(self, commit_id: CommitId, *, of: CommitId) -> bool:
        self._known(of)
        if commit_id in self.slow:
            self.asked_of.append(commit_id)
            await self.slow[commit_id].wait()
        return of in self._lineage(commit_id)

    async def tree(self, commit_id: CommitId) -> PolicyTree:
        return PolicyTree(self._known(commit_id), {})

    def _lineage(self, start: str) -> list[str]:
        found = []
        while start:
            found.append(start)
            start = self.parents.get(start, "")
        return found

    def _known(self, name: CommitId) -> CommitId:
        if name not in self.parents or not self.branch:
            raise UnknownRevisionError(f"no {name}")
        return name


@dataclass
class FakeLog:
    """Only what activation uses of the event log."""

    events: list[Event] = field(default_factory=list)
    failing: bool = False
    on_append: Callable[[Event], None] | None = None
    gate: asyncio.Event | None = None

    async def append_event(self, event: Event) -> Receipt:
        if self.gate is not None:
            await self.gate.wait()
        if self.failing:
            raise LogUnavailableError("the log is not writable")
        if self.on_append:
            self.on_append(event)
        self.events.append(event)
        return Receipt(event.id, len(self.events) - 1, b"")

    def told(self) -> list[tuple[str, int, str]]:
        """Return type, revision and principal of each event."""
        bodies = [json.loads(event.body) for event in self.events]
        return [(body["type"], int(body["details"]["revision"], 16), body["details"]["principal"]) for body in bodies]


@dataclass
class FakeActivationStore:
    saved: tuple[Activated, Activated | None] | None = None
    failure: AisecopsError | None = None

    async def load(self) -> tuple[Activated, Activated | None] | None:
        if self.failure:
            raise self.failure
        return self.saved

    async def save(self, live: Activated, previous: Activated | None) -> None:
        if self.failure:
            raise self.failure
        self.saved = (live, previous)


class FixedClock:
    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000

    def monotonic_ns(self) -> int:
        return 0


class CountingIds:
    """Only what activation uses of the identifiers."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def event_id(self) -> EventId:
        return EventId(f"evt-{next(self._numbers)}")
