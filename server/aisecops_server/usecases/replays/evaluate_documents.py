"""Recorded documents in, conclusions out: evaluated on an engine, or remembered from the last time.

A conclusion follows from the document, the bundle and the engine and from nothing else, so the three digests together
are the key under which it is remembered. Whatever is not exactly a decision is an error of that document alone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.decisions.decision import Verdict, conclude
from aisecops_server.domain.decisions.decision_json import conclusion_details
from aisecops_server.domain.errors import AisecopsError, EngineUnavailableError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.replays.comparison import fingerprint, recorded_conclusion
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.ports import PolicyEngine
from aisecops_server.ports.replay import Engines, ReplayStore

# Others get a turn after so many conclusions.
_PER_TURN = 8
_KEY_BYTES = 16
# An engine that is silent so often in a row is not asked one by one any more.
_SILENCES = 3


@dataclass(frozen=True, slots=True)
class Concluded:
    """A conclusion by its fingerprint, and as JSON unless it is the same as the one on record."""

    digest: bytes
    conclusion: Mapping[str, JsonValue] | None
    evaluated: bool = True


Answer = Concluded | AisecopsError


@dataclass(frozen=True, slots=True)
class _Asked:
    decision: RecordedDecision
    key: bytes
    recorded: bytes


@dataclass(frozen=True, slots=True)
class EvaluateDocuments:
    """Evaluates recorded documents on one bundle. It can touch engines and a memory of conclusions."""

    engines: Engines
    store: ReplayStore
    deadline_seconds: float

    async def __call__(
        self, decisions: Sequence[RecordedDecision], bundle: Bundle, *, engine: str, remember: bool = True
    ) -> list[Answer]:
        """Return the conclusion on each document, in their order; without ``remember`` each is evaluated anew.

        Raises:
            BundleRejectedError, EngineUnavailableError: there is no engine for the bundle.
        """
        asked = [_Asked(each, _key(each, bundle, engine), fingerprint(recorded_conclusion(each))) for each in decisions]
        known = await self._known(asked) if remember else {}
        missing = [one for one in asked if one.key not in known]
        if missing:
            ready = await self.engines.acquire(bundle, engine=engine)
            answers = await self._evaluated(missing, ready)
            found = {one.key: answer for one, answer in zip(missing, answers, strict=True)}
            if remember:
                await self._remember(found)
            known |= found
        return [known[one.key] for one in asked]

    async def _known(self, asked: Sequence[_Asked]) -> dict[bytes, Answer]:
        digests = await self.store.digests([one.key for one in asked])
        recorded = {one.key: one.recorded for one in asked}
        others = {digest for key, digest in digests.items() if recorded[key] != digest}
        kept = await self.store.conclusions(sorted(others)) if others else {}
        found: dict[bytes, Answer] = {}
        for key, digest in digests.items():
            if recorded[key] == digest:
                found[key] = Concluded(digest, None, evaluated=False)
            elif digest in kept:
                found[key] = Concluded(digest, kept[digest], evaluated=False)
        return found

    async def _evaluated(self, asked: Sequence[_Asked], engine: PolicyEngine) -> list[Answer]:
        documents = [one.decision.document for one in asked]
        verdicts = await engine.evaluate_batch(documents, deadline_seconds=self.deadline_seconds * len(documents))
        answers: list[Answer] = []
        silent = 0
        for at, (one, verdict) in enumerate(zip(asked, verdicts, strict=True)):
            answer = verdict
            if isinstance(verdict, EngineUnavailableError) and silent < _SILENCES:
                # One document may have cost the time of all that were asked with it.
                answer = await self._alone(one.decision, engine)
                silent = silent + 1 if isinstance(answer, EngineUnavailableError) else 0
            answers.append(_concluded(one, answer, engine))
            if at % _PER_TURN == 0:
                await asyncio.sleep(0)
        return answers

    async def _alone(self, decision: RecordedDecision, engine: PolicyEngine) -> Verdict | AisecopsError:
        try:
            return await engine.evaluate(decision.document, deadline_seconds=self.deadline_seconds)
        except AisecopsError as error:
            return error

    async def _remember(self, answers: Mapping[bytes, Answer]) -> None:
        concluded = {key: answer for key, answer in answers.items() if isinstance(answer, Concluded)}
        different = {answer.digest: answer.conclusion for answer in concluded.values() if answer.conclusion is not None}
        await self.store.remember({key: answer.digest for key, answer in concluded.items()}, different)


def _key(decision: RecordedDecision, bundle: Bundle, engine: str) -> bytes:
    told = f"{decision.text('document_digest')}\n{bundle.digest}\n{engine}"
    return hashlib.blake2b(told.encode(), digest_size=_KEY_BYTES).digest()


def _concluded(asked: _Asked, verdict: Verdict | AisecopsError, engine: PolicyEngine) -> Answer:
    if isinstance(verdict, AisecopsError):
        return verdict
    try:
        found = conclude(verdict, step_ids=asked.decision.step_ids, expected_revision=engine.bundle.revision)
    except AisecopsError as error:
        return error
    conclusion = conclusion_details(found)
    digest = fingerprint(conclusion)
    return Concluded(digest, None if digest == asked.recorded else conclusion)
