"""The smallest change of a document that would decide otherwise, found by evaluating and by nothing else.

First each lever alone, then together those that take away at least one objection. What is found is verified: without
any of its parts the decision stays. A number is brought as close to its own value as it may be. The search ends after
so many tries or so much time, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from aisecops_server.domain.decisions.decision import conclude
from aisecops_server.domain.decisions.decision_json import conclusion_details
from aisecops_server.domain.errors import AisecopsError, EngineUnavailableError
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.plans.plan import StepId
from aisecops_server.domain.replays.lever import Lever, LeverKind, altered, number_at
from aisecops_server.domain.replays.levers import Json, Scene, plan_levers
from aisecops_server.domain.replays.text_levers import text_levers
from aisecops_server.ports import Clock, PolicyEngine

MOST_TRIES = 512
DEADLINE_SECONDS = 10.0
_MOST_SINGLES = 320
_AT_ONCE = 64
_PAIRED = 14
_MOST_OTHERS = 4
_RANKS = {"ALLOW": 0, "REQUIRE_APPROVAL": 1, "DENY": 2}
_POINTS = 15
# Fractions are looked at to the hundredth, which is as far as amounts of money go.
_GRAIN = 100

Levers = tuple[Lever, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What would be otherwise: an outcome on this side of ``now``, at best ``wanted``."""

    now: str
    wanted: str

    def is_met_by(self, conclusion: Json | None) -> bool:
        """Return whether a conclusion is on the wanted side."""
        if conclusion is None:
            return False
        rank, now, wanted = (_RANKS.get(str(word), 2) for word in (conclusion["outcome"], self.now, self.wanted))
        return rank < now if wanted < now else rank > now

    @property
    def is_looser(self) -> bool:
        """Return whether something is wanted that lets more through."""
        return _RANKS.get(self.wanted, 2) < _RANKS.get(self.now, 2)


@dataclass(frozen=True, slots=True)
class Tried:
    """Levers that were pulled, and what policy concluded then; nothing where it gave no decision."""

    levers: Levers
    conclusion: Json | None


@dataclass(frozen=True, slots=True)
class Sought:
    """What a search found. Without ``levers`` it found none; ``ended_by`` says what ended it, if it had more to try.

    ``others`` are other single levers that would do; ``alone`` is what each lever did by itself.
    """

    levers: Levers
    outcome: str
    tries: int
    ended_by: str
    others: Levers
    alone: tuple[Tried, ...]


@dataclass(slots=True)
class _Search:
    """One search: what was asked already, and what is left of tries and time."""

    engine: PolicyEngine
    document: Json
    clock: Clock
    until_ns: int
    tries: int = 0
    ended_by: str = ""
    known: dict[Levers, Json | None] = field(default_factory=dict)

    async def ask(self, wanted: Sequence[Levers]) -> list[Tried]:
        """Return what policy concludes with each set of levers, as far as tries and time allow."""
        missing = [levers for levers in dict.fromkeys(wanted) if levers not in self.known]
        for start in range(0, len(missing), _AT_ONCE):
            left = (self.until_ns - self.clock.monotonic_ns()) / 1e9
            some = missing[start : start + min(_AT_ONCE, MOST_TRIES - self.tries)]
            if not some or left <= 0:
                self.ended_by = "time" if left <= 0 else "tries"
                break
            await self._evaluate(some, left)
        return [Tried(levers, self.known[levers]) for levers in wanted if levers in self.known]

    async def _evaluate(self, some: Sequence[Levers], seconds: float) -> None:
        documents = [altered(self.document, levers) for levers in some]
        verdicts = await self.engine.evaluate_batch(
            [canonical_bytes(document) for document in documents], deadline_seconds=seconds
        )
        for levers, document, verdict in zip(some, documents, verdicts, strict=True):
            if isinstance(verdict, EngineUnavailableError):
                self.ended_by = "time"
                continue
            self.tries += 1
            self.known[levers] = _concluded(document, verdict, self.engine.bundle.revision)


@dataclass(frozen=True, slots=True)
class SearchChange:
    """Searches for the smallest change that would decide otherwise."""

    clock: Clock
    deadline_seconds: float = DEADLINE_SECONDS

    async def __call__(self, scene: Scene, engine: PolicyEngine, wish: Wish) -> Sought:
        """Return the smallest change of the scene's document that meets ``wish`` on ``engine``, verified."""
        search = self._search(scene, engine)
        alone = await self._alone(search, scene)
        good = sorted(
            (tried for tried in alone if wish.is_met_by(tried.conclusion)), key=lambda one: _size(one, wish, scene)
        )
        if good:
            best = await _sharpened(search, good[0].levers, wish)
        else:
            best = await _together(search, alone, scene.conclusion, wish)
        found = search.known.get(best) if best else None
        return Sought(
            levers=best,
            outcome=str(found["outcome"]) if found else "",
            others=await _others(search, good, wish),
            tries=search.tries,
            ended_by=search.ended_by,
            alone=tuple(alone),
        )

    async def read(self, scene: Scene, engine: PolicyEngine) -> tuple[Tried, ...]:
        """Return what each lever alone does on ``engine``, to learn what its rules read."""
        return tuple(await self._alone(self._search(scene, engine), scene))

    def _search(self, scene: Scene, engine: PolicyEngine) -> _Search:
        until_ns = self.clock.monotonic_ns() + round(self.deadline_seconds * 1e9)
        return _Search(engine, scene.document, self.clock, until_ns)

    async def _alone(self, search: _Search, scene: Scene) -> list[Tried]:
        levers = text_levers(scene) if scene.document.get("kind") == "screen" else plan_levers(scene)
        return await search.ask([(lever,) for lever in levers[:_MOST_SINGLES]])


def objections(conclusion: Json) -> frozenset[tuple[str, str]]:
    """Return the rules that object, each with its step."""
    findings: list[Json] = list(conclusion["findings"])
    return frozenset((found["rule"], found["step"]) for found in findings if found["effect"] != "warn")


def _size(tried: Tried, wish: Wish, scene: Scene) -> tuple[bool, bool, int, float]:
    """Return how small a single change is.

    At best it gives what is wanted, by another number where a rule named that number, easily, and close to what was.
    """
    conclusion, [lever] = tried.conclusion or {}, tried.levers
    own = number_at(scene.document, lever.edits[0].pointer) or 0
    named = {fact["pointer"] for finding in scene.conclusion["findings"] for fact in finding["facts"]}
    is_named = lever.number is not None and lever.edits[0].pointer in named
    distance = abs((lever.number or 0) - own) if lever.number is not None else float("inf")
    return conclusion["outcome"] != wish.wanted, not is_named, lever.kind.ease, distance


async def _others(search: _Search, good: Sequence[Tried], wish: Wish) -> Levers:
    """Return the best single change of every other kind than the first, easiest first."""
    first_of = {tried.levers[0].kind: tried.levers for tried in reversed(good)}
    others = [levers for kind, levers in first_of.items() if kind is not good[0].levers[0].kind]
    others.sort(key=lambda levers: levers[0].kind.ease)
    return tuple([(await _sharpened(search, levers, wish))[0] for levers in others[:_MOST_OTHERS]])


async def _together(search: _Search, alone: Sequence[Tried], conclusion: Json, wish: Wish) -> Levers:
    """Return levers that together meet the wish and of which none can be left out, or nothing."""
    if not wish.is_looser:
        return ()
    standing = objections(conclusion)
    lifted = {
        tried.levers[0]: standing - objections(tried.conclusion)
        for tried in alone
        if tried.conclusion and objections(tried.conclusion) < standing
    }
    ordered = sorted(lifted, key=lambda lever: (-len(lifted[lever]), lever.kind.ease))
    sets = [*combinations(ordered[:_PAIRED], 2), *_growing(ordered, lifted)]
    for tried in await search.ask(sorted(sets, key=len)):
        if wish.is_met_by(tried.conclusion):
            return await _sharpened(search, await _least(search, tried.levers, wish), wish)
    return ()


def _growing(ordered: Sequence[Lever], lifted: dict[Lever, frozenset[tuple[str, str]]]) -> list[Levers]:
    """Return ever larger sets, each with one more lever that lifts most of what still stands."""
    sets: list[Levers] = []
    chosen: list[Lever] = []
    covered: frozenset[tuple[str, str]] = frozenset()
    while best := max(ordered, key=lambda lever: len(lifted[lever] - covered), default=None):
        if not lifted[best] - covered:
            break
        chosen.append(best)
        covered |= lifted[best]
        sets.append(tuple(chosen))
    return [levers for levers in sets if len(levers) > 1]


async def _least(search: _Search, levers: Levers, wish: Wish) -> Levers:
    """Return ``levers`` without those that can be left out; in the end leaving out any one of them decides as now."""
    while len(levers) > 1:
        fewer = await search.ask([levers[:at] + levers[at + 1 :] for at in range(len(levers))])
        enough = next((tried.levers for tried in fewer if wish.is_met_by(tried.conclusion)), None)
        if enough is None:
            break
        levers = enough
    return levers


async def _sharpened(search: _Search, levers: Levers, wish: Wish) -> Levers:
    """Return ``levers`` with each number as close to its own value as it may be."""
    for at, lever in enumerate(levers):
        own = number_at(search.document, lever.edits[0].pointer)
        if lever.number is not None and own is not None and lever.kind in (LeverKind.ARGUMENT, LeverKind.BUDGET):
            levers = await _nearest(search, levers, at, wish)
    return levers


async def _nearest(search: _Search, levers: Levers, at: int, wish: Wish) -> Levers:
    """Return ``levers`` with the number of the one ``at`` so close to its own that the next closer does not do."""
    own = number_at(search.document, levers[at].edits[0].pointer) or 0
    grain = 1 if isinstance(own, int) else _GRAIN
    fails, meets = round(own * grain), round((levers[at].number or 0) * grain)
    while abs(meets - fails) > 1:
        # Between the two, from the one that fails on.
        inner = {fails + (meets - fails) * step // (_POINTS + 1) for step in range(1, _POINTS + 1)} - {fails, meets}
        points = sorted(inner or {fails + (1 if meets > fails else -1)}, key=lambda point: abs(point - fails))
        tried = await search.ask([_with(levers, at, point, grain=grain) for point in points])
        if len(tried) < len(points):
            break
        does = [wish.is_met_by(one.conclusion) for one in tried]
        first = does.index(True) if True in does else len(points)
        fails, meets = points[first - 1] if first else fails, points[first] if first < len(points) else meets
    return _with(levers, at, meets, grain=grain)


def _with(levers: Levers, at: int, point: int, *, grain: int) -> Levers:
    number = point // grain if point % grain == 0 else point / grain
    return (*levers[:at], levers[at].with_number(number), *levers[at + 1 :])


def _concluded(document: Json, verdict: Any, revision: str) -> Json | None:
    if isinstance(verdict, AisecopsError):
        return None
    told = document["parts"] if document.get("kind") == "screen" else document["plan"]["steps"]
    try:
        found = conclude(verdict, step_ids=[StepId(str(one["id"])) for one in told], expected_revision=revision)
    except AisecopsError:
        return None
    return conclusion_details(found)
