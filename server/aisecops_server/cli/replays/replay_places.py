"""Where replays run: in a control plane, or in this process beside one. Both give the API's own messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from aisecops.v1 import replay_pb2, review_service_pb2
from aisecops.v1 import replay_service_pb2 as api
from aisecops_client.replays import Advance, Replays
from aisecops_client.reviews import Reviews

from aisecops_server.adapters.corpus.corpus_file import read_corpus
from aisecops_server.adapters.git.checkout import CheckoutRepository
from aisecops_server.adapters.sqlite.event_log import open_log_read_only
from aisecops_server.adapters.sqlite.history import open_history
from aisecops_server.bootstrap.cluster import parts_of
from aisecops_server.bootstrap.replay import Replaying, replaying
from aisecops_server.cli.configuration import tenant_settings
from aisecops_server.cli.connection import connect
from aisecops_server.domain.replays.replay import ReplayId
from aisecops_server.entrypoints.grpc.replay_codec import (
    bisection_message,
    command_of,
    explain_change_message,
    groups_message,
    matrix_message,
    replay_message,
    require_trace_ids,
    result_filter_of,
    result_message,
)
from aisecops_server.entrypoints.grpc.review_service import review_message
from aisecops_server.usecases.reviews.judge_flips import read_review

Told = Callable[[replay_pb2.Replay], None]
_R = TypeVar("_R")
_LOCAL = "local"
_PAGE = 500


class Place(Protocol):
    """Somewhere that replays run."""

    def run(self, request: api.StartReplayRequest, told: Told) -> replay_pb2.Replay:
        """Replay to the end; ``told`` is called whenever it got further."""
        ...

    def replay(self, replay_id: str) -> replay_pb2.Replay:
        """Return one replay."""
        ...

    def replays(self, *, page_size: int, page_token: str) -> api.ListReplaysResponse:
        """Return a page of replays."""
        ...

    def results(self, replay_id: str, narrow: api.ReplayResultFilter) -> list[replay_pb2.ReplayResult]:
        """Return what did not stay the same."""
        ...

    def groups(self, replay_id: str) -> tuple[api.ListFlipGroupsResponse, review_service_pb2.GetReviewResponse]:
        """Return what did not stay the same in groups, and what reviewers said about them."""
        ...

    def why(self, replay_id: str, subject: str) -> api.ExplainChangeResponse:
        """Return why a decision, or those of a trace, are made differently."""
        ...

    def matrix(self, traces: Sequence[str], revisions: Sequence[str], advance: Advance) -> replay_pb2.RevisionMatrix:
        """Return what the decisions of traces would be on several revisions."""
        ...

    def bisect(self, trace: str, *, good: str, bad: str, advance: Advance) -> replay_pb2.DecisionBisection:
        """Return which commits made the decisions of a trace others."""
        ...


class ControlPlane:
    """Replays of the control plane that was asked for."""

    def run(self, request: api.StartReplayRequest, told: Told) -> replay_pb2.Replay:
        """Replay to the end; whoever is interrupted meanwhile has stopped it."""
        with connect() as client:
            replays = Replays(client)
            replay_id = replays.start(request).replay_id
            last = replay_pb2.Replay()
            try:
                for last in replays.watch(replay_id):
                    told(last)
            except KeyboardInterrupt:
                replays.cancel(replay_id)
                raise
            return last

    def replay(self, replay_id: str) -> replay_pb2.Replay:
        """Return one replay."""
        with connect() as client:
            return Replays(client).replay(replay_id)

    def replays(self, *, page_size: int, page_token: str) -> api.ListReplaysResponse:
        """Return a page of replays."""
        with connect() as client:
            return Replays(client).replays(page_size=page_size, page_token=page_token)

    def results(self, replay_id: str, narrow: api.ReplayResultFilter) -> list[replay_pb2.ReplayResult]:
        """Return what did not stay the same."""
        with connect() as client:
            return list(Replays(client).results(replay_id, narrow))

    def groups(self, replay_id: str) -> tuple[api.ListFlipGroupsResponse, review_service_pb2.GetReviewResponse]:
        """Return what did not stay the same in groups, and what reviewers said about them."""
        with connect() as client:
            return Replays(client).groups(replay_id), Reviews(client).review(replay_id)

    def why(self, replay_id: str, subject: str) -> api.ExplainChangeResponse:
        """Return why a decision, or those of a trace, are made differently."""
        with connect() as client:
            return Replays(client).why(replay_id, **_subject(subject))

    def matrix(self, traces: Sequence[str], revisions: Sequence[str], advance: Advance) -> replay_pb2.RevisionMatrix:
        """Return what the decisions of traces would be on several revisions."""
        with connect() as client:
            return Replays(client).matrix(traces, revisions, advance)

    def bisect(self, trace: str, *, good: str, bad: str, advance: Advance) -> replay_pb2.DecisionBisection:
        """Return which commits made the decisions of a trace others."""
        with connect() as client:
            return Replays(client).bisect(trace, good=good, bad=bad, advance=advance)


@dataclass(frozen=True, slots=True)
class Session:
    """Replay as it is open in this process, and the loop that everything of it runs in."""

    runner: asyncio.Runner
    made: Replaying


@dataclass(frozen=True, slots=True)
class Here:
    """Replays in this process, on the state directory; a control plane may run beside. ``engine`` is a binary.

    With a ``corpus`` nothing of a control plane is needed: policy comes from the checkout in ``repository``, and what
    is found is kept in ``state``. A ``history`` is a database of decisions to read instead of the log.
    """

    engine: Path | None = None
    corpus: Path | None = None
    repository: Path | None = None
    state: Path | None = None
    history: Path | None = None
    _session: Session | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[Here]:
        """Give this place for a block in which engines, once started, stay for whatever is asked next."""
        with self._started() as session:
            yield replace(self, _session=session)

    def run(self, request: api.StartReplayRequest, told: Told) -> replay_pb2.Replay:
        """Replay to the end."""

        async def run(made: Replaying) -> replay_pb2.Replay:
            if self.engine is not None:
                request.candidate.engine = made.given_engine
            started = await made.runs.start(command_of(request, asked_by=_LOCAL))
            last = replay_message(started)
            async for record in made.runs.watch(started.id):
                last = replay_message(record)
                told(last)
            return last

        return self._within(run)

    def replay(self, replay_id: str) -> replay_pb2.Replay:
        """Return one replay."""

        async def one(made: Replaying) -> replay_pb2.Replay:
            return replay_message(await made.reads.one(ReplayId(replay_id)))

        return self._within(one)

    def replays(self, *, page_size: int, page_token: str) -> api.ListReplaysResponse:
        """Return a page of replays."""

        async def page(made: Replaying) -> api.ListReplaysResponse:
            found = await made.reads.page(page_size=page_size, page_token=page_token)
            replays = [replay_message(record, whole=False) for record in found.replays]
            return api.ListReplaysResponse(replays=replays, next_page_token=found.next_token)

        return self._within(page)

    def results(self, replay_id: str, narrow: api.ReplayResultFilter) -> list[replay_pb2.ReplayResult]:
        """Return what did not stay the same."""

        async def results(made: Replaying) -> list[replay_pb2.ReplayResult]:
            known, token, wanted = ReplayId(replay_id), "", result_filter_of(narrow)
            await made.reads.one(known)
            found: list[replay_pb2.ReplayResult] = []
            while True:
                page = await made.reads.results(known, wanted, page_size=_PAGE, page_token=token)
                found += map(result_message, page.results)
                token = page.next_token
                if not token:
                    return found

        return self._within(results)

    def groups(self, replay_id: str) -> tuple[api.ListFlipGroupsResponse, review_service_pb2.GetReviewResponse]:
        """Return what did not stay the same in groups, and what reviewers said; nobody said anything of a copy."""

        async def groups(
            made: Replaying,
        ) -> tuple[api.ListFlipGroupsResponse, review_service_pb2.GetReviewResponse]:
            known = ReplayId(replay_id)
            found = groups_message(await made.groups(known))
            if self.corpus is not None or self.history is not None:
                return found, review_service_pb2.GetReviewResponse()
            log = open_log_read_only(tenant_settings().log_path)
            try:
                return found, review_message(await read_review(made.groups, log.reviews, known))
            finally:
                await log.close()

        return self._within(groups)

    def why(self, replay_id: str, subject: str) -> api.ExplainChangeResponse:
        """Return why a decision, or those of a trace, are made differently."""

        async def why(made: Replaying) -> api.ExplainChangeResponse:
            return explain_change_message(await made.why(ReplayId(replay_id), **_subject(subject)))

        return self._within(why)

    def matrix(self, traces: Sequence[str], revisions: Sequence[str], advance: Advance) -> replay_pb2.RevisionMatrix:
        """Return what the decisions of traces would be on several revisions."""
        require_trace_ids(traces, "trace_ids")

        async def matrix(made: Replaying) -> replay_pb2.RevisionMatrix:
            last = api.CompareRevisionsResponse()
            async for grown in made.compare(traces, revisions):
                last = matrix_message(grown)
                advance(last.done, last.total)
            return last.matrix

        return self._within(matrix)

    def bisect(self, trace: str, *, good: str, bad: str, advance: Advance) -> replay_pb2.DecisionBisection:
        """Return which commits made the decisions of a trace others."""
        require_trace_ids([trace], "trace_id")

        async def bisect(made: Replaying) -> replay_pb2.DecisionBisection:
            last = api.BisectDecisionsResponse()
            async for step in made.bisect(trace, good=good, bad=bad):
                last = bisection_message(step)
                advance(last.asked, last.expected)
            return last.found

        return self._within(bisect)

    def _within(self, work: Callable[[Replaying], Coroutine[Any, Any, _R]]) -> _R:
        with contextlib.nullcontext(self._session) if self._session else self._started() as session:
            return session.runner.run(work(session.made))

    @contextlib.contextmanager
    def _started(self) -> Iterator[Session]:
        with asyncio.Runner() as runner:
            opening = self._opened()
            made = runner.run(opening.__aenter__())
            try:
                yield Session(runner, made)
            finally:
                runner.run(opening.__aexit__(None, None, None))

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[Replaying]:
        configured = tenant_settings()
        if self.state is not None:
            configured = configured.model_copy(update={"state_dir": self.state})
        instead = read_corpus(self.corpus) if self.corpus else open_history(self.history) if self.history else None
        repository = CheckoutRepository(self.repository) if self.repository else None
        async with (
            parts_of(configured) as cluster,
            replaying(
                configured, niceness=0, engine=self.engine, instead=instead, repository=repository, cluster=cluster
            ) as made,
        ):
            yield made


def _subject(text: str) -> dict[str, str]:
    return {"decision_id" if text.startswith("dec-") else "trace_id": text}
