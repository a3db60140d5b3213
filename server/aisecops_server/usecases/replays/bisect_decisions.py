"""Which commit made the decisions of a trace others: the commits between two are asked, few of them or all.

Few commits are all asked. Of many, halves are cut off, which finds the commit only where history changed its mind
once; so more commits on both sides are asked afterwards, and it is said whether it did, and whether all were asked.
Commits that cannot be built are passed over and named.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from aisecops_server.domain.bundles.bundle import Commit, CommitId
from aisecops_server.domain.display.web_links import commit_link
from aisecops_server.domain.errors import BundleRejectedError, InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_draft import content_name
from aisecops_server.domain.replays.comparison import Comparison
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.ports import PolicyRepository
from aisecops_server.usecases.replays.compare_policies import CompareMeanings
from aisecops_server.usecases.replays.compare_revisions import Column, CompareRevisions

MOST_COMMITS = 5000
WALKED = 24
LOOKED_AT_AGAIN = 12
_MOST_CHANGES = 20
_PAGE = 500

Answer = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bisected:
    """How far a search is, and what it found when it is over. ``expected`` is about how many commits it asks."""

    asked: int
    expected: int
    found: dict[str, JsonValue] | None = None


@dataclass(slots=True)
class _Search:
    """The commits between two, oldest first, and what was learned of some of them."""

    decisions: tuple[RecordedDecision, ...]
    commits: tuple[Commit, ...]
    by_reasons: bool = False
    cells: dict[int, tuple[Comparison, ...]] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)
    seen: dict[str, Column] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return len(self.commits) - 1

    def answer(self, at: int) -> Answer:
        """Return what decides whether two commits agree: outcomes, or reasons where no outcome differs."""
        return tuple(_said(cell, by_reasons=self.by_reasons) for cell in self.cells[at])

    def known(self) -> list[int]:
        return sorted(self.cells)

    def steps(self) -> list[tuple[int, int]]:
        """Return neighbours among the commits that were asked, that disagree."""
        return [(older, newer) for older, newer in pairwise(self.known()) if self.answer(older) != self.answer(newer)]


@dataclass(frozen=True, slots=True)
class BisectDecisions:
    """Finds the commit that made the decisions of a trace others."""

    compare: CompareRevisions
    repository: PolicyRepository
    meanings: CompareMeanings

    async def __call__(self, trace_id: str, *, good: str = "", bad: str = "") -> AsyncGenerator[Bisected, None]:
        """Yield how far it is, at the end with what was found.

        ``good`` is the revision that decided unless another is named, ``bad`` the head of the followed branch. Either
        may be the older one.

        Raises:
            NotFoundError, UnknownRevisionError: there is no such trace or revision.
            InvalidRequestError: no line of commits leads from one to the other, or one of the two cannot be built.
        """
        decisions = await self.compare.decisions([trace_id])
        begins = await self.compare.policies.commit_id(good or decisions[0].text("bundle_revision"))
        if not bad:
            await self.repository.fetch()
        ends = await (self.compare.policies.commit_id(bad) if bad else self.repository.head())
        search = _Search(decisions, await self._line(begins, ends))
        walks = len(search.commits) <= WALKED
        expected = len(search.commits) if walks else 2 + len(search.commits).bit_length() + LOOKED_AT_AGAIN
        steps = self._walk(search) if walks else self._cut(search)
        async for _ in steps:
            asked = len(search.cells) + len(search.problems)
            yield Bisected(asked, max(asked, expected))
        asked = len(search.cells) + len(search.problems)
        yield Bisected(asked, asked, await self._found(search, trace_id, begins == search.commits[0].id))

    async def _line(self, begins: CommitId, ends: CommitId) -> tuple[Commit, ...]:
        """Return the commits from one to the other, oldest first."""
        if begins == ends:
            raise InvalidRequestError("both revisions are one commit", hint="Name another one with --bad or --good")
        forward = await self.repository.is_descendant(ends, of=begins)
        older, newer = (begins, ends) if forward else (ends, begins)
        found = [await self.repository.commit(newer)]
        while found[-1].id != older:
            more = await self.repository.commits(after=found[-1].id, limit=_PAGE)
            at = next((number for number, commit in enumerate(more) if commit.id == older), len(more) - 1)
            found += more[: at + 1]
            if not more or len(found) > MOST_COMMITS:
                raise InvalidRequestError(
                    f"no line of at most {MOST_COMMITS:,} commits leads from {older[:12]} to {newer[:12]}",
                    hint="Name two commits of the followed branch, closer to each other",
                )
        return tuple(reversed(found))

    async def _ask(self, search: _Search, at: int) -> bool:
        """Ask one commit, and return whether it could be built."""
        if at not in search.cells and at not in search.problems:
            column = await self._column(search, search.commits[at].id)
            if column.problem:
                search.problems[at] = column.problem
            else:
                search.cells[at] = column.cells
        return at in search.cells

    async def _column(self, search: _Search, commit_id: CommitId) -> Column:
        """Return what decisions are on a commit; the same files are asked once, whatever commit they stand in."""
        try:
            content = content_name((await self.repository.tree(commit_id)).files)
        except BundleRejectedError as error:
            return Column("", commit_id, error.message, ())
        if content not in search.seen:
            search.seen[content] = await self.compare.column(search.decisions, commit_id)
        return search.seen[content]

    async def _ends(self, search: _Search) -> AsyncGenerator[int, None]:
        for at in (0, search.last):
            if not await self._ask(search, at):
                raise InvalidRequestError(
                    f"commit {search.commits[at].id[:12]} cannot be built: {search.problems[at]}",
                    hint="Name a commit beside it with --good or --bad",
                )
            yield at
        # Where no outcome differs there may still be other reasons.
        search.by_reasons = search.answer(0) == search.answer(search.last)
        if search.by_reasons and search.answer(0) == search.answer(search.last):
            search.by_reasons = False

    async def _walk(self, search: _Search) -> AsyncGenerator[int, None]:
        async for at in self._ends(search):
            yield at
        for at in range(1, search.last):
            await self._ask(search, at)
            yield at

    async def _cut(self, search: _Search) -> AsyncGenerator[int, None]:
        async for at in self._ends(search):
            yield at
        low, high = 0, search.last
        while high - low > 1 and search.answer(low) != search.answer(high):
            middle = None
            for at in _outwards((low + high) // 2, low, high):
                if await self._ask(search, at):
                    middle = at
                    break
                yield at
            if middle is None:
                break
            yield middle
            low, high = (middle, high) if search.answer(middle) == search.answer(low) else (low, middle)
        # Evenly over all of them: whether history changed its mind more than once.
        for number in range(1, LOOKED_AT_AGAIN + 1):
            await self._ask(search, search.last * number // (LOOKED_AT_AGAIN + 1))
            yield number

    async def _found(self, search: _Search, trace_id: str, forward: bool) -> dict[str, JsonValue]:  # noqa: FBT001
        page = await self.repository.web_page()
        steps = search.steps()
        flips = steps if forward else steps[::-1]
        return {
            "trace_id": trace_id,
            "good": search.commits[0 if forward else search.last].id,
            "bad": search.commits[search.last if forward else 0].id,
            "by": "reasons" if search.by_reasons else "outcome",
            "flips": [await self._flip(search, older, newer, page) for older, newer in flips],
            "monotone": len(steps) <= 1 and (bool(steps) == (search.answer(0) != search.answer(search.last))),
            "commits": len(search.commits),
            "asked": len(search.cells),
            "complete": len(search.cells) + len(search.problems) == len(search.commits),
            "skipped": [
                {**_commit(search.commits[at], page), "problem": problem}
                for at, problem in sorted(search.problems.items())
            ],
        }

    async def _flip(self, search: _Search, older: int, newer: int, page: str) -> JsonValue:
        trees = [await self.repository.tree(search.commits[at].id) for at in (older, newer)]
        changes = await self.meanings(*trees)
        between = range(older + 1, newer)
        return {
            "commit": _commit(search.commits[newer], page),
            "before": _commit(search.commits[older], page),
            # Commits between the two that cannot be built, or were not asked, may have done it as well.
            "exact": not between,
            "between": len(between),
            "decisions": [
                {
                    "decision_id": decision.decision_id,
                    "before": search.cells[older][at].after,
                    "after": search.cells[newer][at].after,
                }
                for at, decision in enumerate(search.decisions)
                if search.answer(older)[at] != search.answer(newer)[at]
            ],
            "changes": [change.as_json() for change in changes[:_MOST_CHANGES]],
        }


def _outwards(middle: int, low: int, high: int) -> Iterator[int]:
    """Yield the places between two, the middle first and then ever farther from it."""
    for distance in range(high - low):
        for at in dict.fromkeys((middle + distance, middle - distance)):
            if low < at < high:
                yield at


def _said(cell: Comparison, *, by_reasons: bool) -> str:
    outcome = cell.after or f"{cell.verdict_class.value} {cell.reason}"
    if not by_reasons:
        return outcome
    rules = [firing.rule for firing in (*cell.fires_now, *cell.no_longer)]
    return " ".join([outcome, cell.verdict_class.value, *rules, *cell.parts])


def _commit(commit: Commit, page: str) -> dict[str, JsonValue]:
    return {
        "commit": commit.id,
        "author": commit.author,
        "summary": commit.summary,
        "committed_at_seconds": commit.committed_at_seconds,
        "link": commit_link(page, commit.id),
    }
