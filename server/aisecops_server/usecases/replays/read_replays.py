"""Reads replays and what they found: one, all, and the decisions that did not stay the same, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.replays.flip_groups import Grouping
from aisecops_server.domain.replays.replay import ReplayId, ReplayRecord
from aisecops_server.ports.replay import ReplayStore
from aisecops_server.usecases.replays.run_replays import RunReplays, as_left, no_replay

Result = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Narrows results; an empty field does not narrow. Which group a result is in, only its replay can tell."""

    verdict_class: str = ""
    direction: str = ""
    rule: str = ""
    agent_id: str = ""
    tool: str = ""
    decision_id: str = ""
    group_id: str = ""

    def holds(self, result: Result) -> bool:
        """Return whether a result is one of those that are meant."""
        return (
            self.verdict_class in ("", result["verdict_class"])
            and self.direction in ("", result["direction"])
            and self.agent_id in ("", result["agent_id"])
            and self.decision_id in ("", result["decision_id"])
            and (not self.tool or self.tool in _list(result["tools"]))
            and (not self.rule or self.rule in _rules(result))
        )


@dataclass(frozen=True, slots=True)
class ResultPage:
    """Results in the order of the log; ``next_token`` is empty on the last page."""

    results: tuple[Result, ...]
    next_token: str


@dataclass(frozen=True, slots=True)
class ReplayPage:
    """Replays, newest first; ``next_token`` is empty on the last page."""

    replays: tuple[ReplayRecord, ...]
    next_token: str


@dataclass(frozen=True, slots=True)
class ReadReplays:
    """Reads replays. ``only_of`` narrows to those about one agent's own decisions."""

    store: ReplayStore
    runs: RunReplays

    async def one(self, replay_id: ReplayId, *, only_of: str = "") -> ReplayRecord:
        """Return a replay.

        Raises:
            NotFoundError: there is none, or not of ``only_of`` if that is given.
        """
        found = self.runs.running(replay_id) or await self.store.load(replay_id)
        if found is None or not _is_of(found, only_of):
            raise no_replay(replay_id)
        return found if self.runs.running(replay_id) else as_left(found)

    async def page(self, *, page_size: int, page_token: str, only_of: str = "") -> ReplayPage:
        """Return a page of replays, newest first.

        Raises:
            InvalidRequestError: the page token is not one of this list.
        """
        if page_token and await self.store.load(ReplayId(page_token)) is None:
            raise InvalidRequestError("page_token was not made by this list", field="page_token")
        found: list[ReplayRecord] = []
        below = page_token
        while len(found) <= page_size:
            stored = await self.store.records(below=below, limit=page_size + 1)
            found += [await self.one(record.id) for record in stored if _is_of(record, only_of)]
            if len(stored) <= page_size:
                break
            below = stored[-1].id
        more = len(found) > page_size
        return ReplayPage(tuple(found[:page_size]), found[page_size - 1].id if more else "")

    async def results(
        self, replay_id: ReplayId, narrow: ResultFilter, *, page_size: int, page_token: str
    ) -> ResultPage:
        """Return a page of what did not stay the same.

        Raises:
            InvalidRequestError: the page token is not one of this list.
        """
        part, offset = _opened(page_token)
        grouping = await self._grouping(replay_id) if narrow.group_id else None
        found: list[Result] = []
        while (results := await self.store.results(replay_id, part=part)) is not None:
            for at in range(offset, len(results)):
                of_group = grouping is None or grouping.key(results[at]).id == narrow.group_id
                if narrow.holds(results[at]) and of_group:
                    if len(found) == page_size:
                        return ResultPage(tuple(found), f"{part}.{at}")
                    found.append(results[at])
            part, offset = part + 1, 0
        return ResultPage(tuple(found), "")

    async def _grouping(self, replay_id: ReplayId) -> Grouping | None:
        record = await self.one(replay_id)
        return Grouping.of(record.question, record.report) if record.report else None


def _is_of(record: ReplayRecord, agent_id: str) -> bool:
    selection = record.question["selection"]
    return not agent_id or (isinstance(selection, Mapping) and selection["agent_id"] == agent_id)


def _opened(token: str) -> tuple[int, int]:
    part, _, offset = (token or "0.0").partition(".")
    if not (part.isdecimal() and offset.isdecimal() and len(token) <= 20):  # noqa: PLR2004 - more than any log has
        raise InvalidRequestError("page_token was not made by this list", field="page_token")
    return int(part), int(offset)


def _rules(result: Result) -> set[JsonValue]:
    return {
        firing["rule"]
        for name in ("fires_now", "no_longer")
        for firing in _list(result[name])
        if isinstance(firing, Mapping)
    }


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []
