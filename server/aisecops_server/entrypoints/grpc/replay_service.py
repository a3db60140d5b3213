"""ReplayService: questions about history, and their answers. It hands out what was found and nothing that acts.

Who may not read everything asks about their own decisions only, on revisions that stand in the repository.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from aisecops.v1 import replay_service_pb2 as api

from aisecops_server.domain.errors import InvalidRequestError, NotPermittedError
from aisecops_server.domain.replays.replay import ReplayId, Selection
from aisecops_server.entrypoints.grpc import access
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.methods import Gate, read_message
from aisecops_server.entrypoints.grpc.paging import page_size
from aisecops_server.entrypoints.grpc.replay_codec import (
    bisection_message,
    command_of,
    explain_change_message,
    groups_message,
    matrix_message,
    replay_message,
    require_name,
    require_trace_ids,
    result_filter_of,
    result_message,
)
from aisecops_server.usecases.replays.bisect_decisions import BisectDecisions
from aisecops_server.usecases.replays.compare_revisions import CompareRevisions
from aisecops_server.usecases.replays.explain_change import ExplainChange
from aisecops_server.usecases.replays.group_flips import GroupFlips
from aisecops_server.usecases.replays.read_replays import ReadReplays
from aisecops_server.usecases.replays.run_replays import ReplayCommand, RunReplays

_MAX_REPLAYS = 100
_MAX_RESULTS = 500
_ID_CHARACTERS = 64
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class ReplayUseCases:
    """What runs replays and reads them."""

    runs: RunReplays
    reads: ReadReplays
    why: ExplainChange
    compare: CompareRevisions
    bisect: BisectDecisions
    groups: GroupFlips
    # Each takes engines of its own, one after the other.
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))


@dataclass(frozen=True, slots=True)
class ReplayService:
    """The handlers of ``aisecops.v1.ReplayService``."""

    replays: ReplayUseCases
    gate: Gate

    async def start(self, request: bytes, caller: Caller) -> api.StartReplayResponse:
        """Answer StartReplay."""
        asked = read_message(api.StartReplayRequest, request)
        command = command_of(asked, asked_by=caller.principal.id)
        command = replace(command, selection=_own(command.selection, caller))
        _require_committed(command, caller)
        return api.StartReplayResponse(replay=replay_message(await self.replays.runs.start(command)))

    async def watch(self, request: bytes, caller: Caller) -> AsyncIterator[api.WatchReplayResponse]:
        """Answer WatchReplay; ends when the replay does, when the caller goes, or its credential does."""
        replay_id = _id(read_message(api.WatchReplayRequest, request).replay_id)
        await self.replays.reads.one(replay_id, only_of=_only_of(caller))
        states = self.replays.runs.watch(replay_id)
        told_early = False
        async with aclosing(states):
            async for record in states:
                self.gate.still(caller)
                yield api.WatchReplayResponse(
                    replay=replay_message(replace(record, early=None) if told_early else record)
                )
                told_early = record.early is not None

    async def replay(self, request: bytes, caller: Caller) -> api.GetReplayResponse:
        """Answer GetReplay."""
        replay_id = _id(read_message(api.GetReplayRequest, request).replay_id)
        found = await self.replays.reads.one(replay_id, only_of=_only_of(caller))
        return api.GetReplayResponse(replay=replay_message(found))

    async def list_replays(self, request: bytes, caller: Caller) -> api.ListReplaysResponse:
        """Answer ListReplays."""
        asked = read_message(api.ListReplaysRequest, request)
        page = await self.replays.reads.page(
            page_size=page_size(asked.page_size, at_most=_MAX_REPLAYS),
            page_token=_id(asked.page_token) if asked.page_token else "",
            only_of=_only_of(caller),
        )
        return api.ListReplaysResponse(
            replays=[replay_message(record, whole=False) for record in page.replays], next_page_token=page.next_token
        )

    async def list_results(self, request: bytes, caller: Caller) -> api.ListReplayResultsResponse:
        """Answer ListReplayResults."""
        asked = read_message(api.ListReplayResultsRequest, request)
        replay_id = _id(asked.replay_id)
        await self.replays.reads.one(replay_id, only_of=_only_of(caller))
        page = await self.replays.reads.results(
            replay_id,
            result_filter_of(asked.filter),
            page_size=page_size(asked.page_size, at_most=_MAX_RESULTS),
            page_token=asked.page_token,
        )
        return api.ListReplayResultsResponse(
            results=[result_message(result) for result in page.results], next_page_token=page.next_token
        )

    async def list_groups(self, request: bytes, caller: Caller) -> api.ListFlipGroupsResponse:
        """Answer ListFlipGroups."""
        replay_id = _id(read_message(api.ListFlipGroupsRequest, request).replay_id)
        return groups_message(await self.replays.groups(replay_id, only_of=_only_of(caller)))

    async def cancel(self, request: bytes, caller: Caller) -> api.CancelReplayResponse:
        """Answer CancelReplay."""
        replay_id = _id(read_message(api.CancelReplayRequest, request).replay_id)
        await self.replays.reads.one(replay_id, only_of=_only_of(caller))
        await self.replays.runs.cancel(replay_id)
        return api.CancelReplayResponse(replay=replay_message(await self.replays.reads.one(replay_id)))

    async def explain_change(self, request: bytes, caller: Caller) -> api.ExplainChangeResponse:  # noqa: ARG002
        """Answer ExplainChange; only who reads everything gets here."""
        asked = read_message(api.ExplainChangeRequest, request)
        for name in ("decision_id", "trace_id"):
            if len(getattr(asked, name)) > _ID_CHARACTERS:
                raise InvalidRequestError(f"{name}: not an id", field=name)
        told = await self.replays.why(_id(asked.replay_id), decision_id=asked.decision_id, trace_id=asked.trace_id)
        return explain_change_message(told)

    async def compare_revisions(self, request: bytes, caller: Caller) -> AsyncIterator[api.CompareRevisionsResponse]:
        """Answer CompareRevisions; the matrix comes at the end."""
        asked = read_message(api.CompareRevisionsRequest, request)
        require_trace_ids(asked.trace_ids, "trace_ids")
        for name in asked.revisions:
            require_name(name, "revisions")
        async with self.replays.turns, aclosing(self.replays.compare(asked.trace_ids, asked.revisions)) as steps:
            async for matrix in steps:
                self.gate.still(caller)
                yield matrix_message(matrix)

    async def bisect_decisions(self, request: bytes, caller: Caller) -> AsyncIterator[api.BisectDecisionsResponse]:
        """Answer BisectDecisions; what was found comes at the end."""
        asked = read_message(api.BisectDecisionsRequest, request)
        require_trace_ids([asked.trace_id], "trace_id")
        require_name(asked.good, "good")
        require_name(asked.bad, "bad")
        search = self.replays.bisect(asked.trace_id, good=asked.good, bad=asked.bad)
        async with self.replays.turns, aclosing(search) as steps:
            async for step in steps:
                self.gate.still(caller)
                yield bisection_message(step)


def _only_of(caller: Caller) -> str:
    return "" if access.reads_everything(caller.principal) else caller.principal.id


def _own(selection: Selection, caller: Caller) -> Selection:
    """Narrow a selection to what the caller may read."""
    own = _only_of(caller)
    if own and selection.agent_id not in ("", own):
        raise NotPermittedError(
            "these are decisions of another agent",
            hint="Leave agent_id out, or ask with a credential that may read everything",
            needs="security, platform, auditor",
        )
    return replace(selection, agent_id=own) if own else selection


def _require_committed(command: ReplayCommand, caller: Caller) -> None:
    """Refuse drafts of those who may not read everything: with one of their own they could ask policy anything."""
    sides = [side for side in (command.candidate, command.baseline) if side]
    if _only_of(caller) and any(side.files or side.changes for side in sides):
        raise NotPermittedError(
            "drafts of policy need a role that reads everything",
            hint="Replay on a commit, branch, tag or proposal of the policy repository",
            needs="security, platform, auditor",
        )


def _id(text: str) -> ReplayId:
    if not text or len(text) > _ID_CHARACTERS:
        raise InvalidRequestError("replay_id: not an id of a replay", field="replay_id")
    return ReplayId(text)
