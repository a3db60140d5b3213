"""One bundle revision, asked: documents in, verdicts out.

Sends the document's bytes verbatim as the engine's ``input``. It never looks inside a document or a result;
``reply`` judges what comes back and the domain concludes from it. It never retries a decision.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aisecops_server.adapters.opa import reply as replies
from aisecops_server.adapters.opa.client import Reply
from aisecops_server.adapters.opa.gathering import LARGEST_BYTES, Gathering
from aisecops_server.adapters.opa.process import OpaProcess
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.errors import AisecopsError, EngineUnavailableError, NoDecisionError

_FLAGS = b"?provenance=true&metrics=true&strict-builtin-errors=true"
_DECISION = b"/v1/data/aisecops/decision/decision" + _FLAGS
_BATCH = b"/v1/data/aisecops/batch/decisions" + _FLAGS
_EXPLAIN = b"/v1/data/aisecops/decision/decision?explain=full&pretty=true&provenance=true"

# A batch runs on one core in one query, so it is cut for the cores there are; larger chunks are no faster and
# lose more to one bad item.
BATCH_DOCUMENTS = 64
BATCH_BYTES = 512 * 1024
BATCH_LANES = max(2, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class _Calls:
    """Requests to one engine process."""

    process: OpaProcess

    async def alone(self, document: bytes, deadline_seconds: float) -> Verdict:
        """Evaluate one document in a request of its own."""
        parts = (b'{"input":', document, b"}")
        answer = await self.ask(_DECISION, parts, deadline_seconds, limit=self.process.limits.reply_bytes)
        return replies.verdict(answer, revision=self.process.bundle.revision)

    async def isolating(self, documents: Sequence[bytes], expires: float) -> list[Verdict | AisecopsError]:
        """Evaluate a chunk; when it is not decided as a whole, halve it until the bad items stand alone."""
        left = expires - asyncio.get_running_loop().time()
        try:
            if len(documents) == 1:
                return [await self.alone(documents[0], left)]
            return list(await self._batch(documents, deadline_seconds=left))
        except EngineUnavailableError as error:
            return [error] * len(documents)
        except NoDecisionError as error:
            if len(documents) == 1:
                return [error]
        half = len(documents) // 2
        return [
            *await self.isolating(documents[:half], expires),
            *await self.isolating(documents[half:], expires),
        ]

    async def _batch(self, documents: Sequence[bytes], *, deadline_seconds: float) -> list[Verdict]:
        parts = (b'{"input":{"items":[', b",".join(documents), b"]}}")
        answer = await self.ask(_BATCH, parts, deadline_seconds, limit=self.process.limits.reply_bytes)
        return replies.verdicts(answer, count=len(documents), revision=self.process.bundle.revision)

    async def ask(self, target: bytes, parts: Sequence[bytes], deadline_seconds: float, *, limit: int) -> Reply:
        """Send one request and return its reply.

        Raises:
            EngineUnavailableError: no answer within the deadline, or no engine.
            NoDecisionError: the request is larger than the engine takes.
        """
        if sum(map(len, parts)) > self.process.limits.body_bytes:
            raise replies.not_a_decision("size", f"the document is larger than {self.process.limits.body_bytes} bytes")
        self.process.require_serving()
        try:
            return await self.process.client.post(target, parts, deadline_seconds=deadline_seconds, limit=limit)
        except EngineUnavailableError as error:
            if error.metadata().get("why") == "deadline":
                self.process.suspect()
            raise


class OpaEngine:
    """The policy engine of one bundle, over its supervised process."""

    def __init__(self, process: OpaProcess) -> None:
        self._process = process
        self._calls = _Calls(process)
        self._lanes = asyncio.Semaphore(BATCH_LANES)
        # Of the calls and not of the engine: who lets go of an engine lets go of it at once, which a cycle would delay.
        self._gathering = Gathering(self._calls.alone, self._calls.isolating, doubt=process.suspect, lanes=BATCH_LANES)

    @property
    def bundle(self) -> Bundle:
        """Return the bundle that this engine serves."""
        return self._process.bundle

    @property
    def problem(self) -> str:
        """Return why it cannot answer now, or an empty string when it can."""
        try:
            self._process.require_serving()
        except EngineUnavailableError as error:
            return error.message
        return ""

    async def evaluate(self, document: bytes, *, deadline_seconds: float) -> Verdict:
        """Evaluate one input document.

        Raises:
            EngineUnavailableError: no answer within the deadline, or no engine.
            NoDecisionError: an answer that is not a decision (undefined, error, wrong shape).
        """
        self._process.require_serving()
        if len(document) > LARGEST_BYTES:
            return await self._calls.alone(document, deadline_seconds)
        return await self._gathering.evaluate(document, deadline_seconds)

    async def evaluate_batch(
        self, documents: Sequence[bytes], *, deadline_seconds: float
    ) -> list[Verdict | AisecopsError]:
        """Evaluate many documents; answers in their order, an error standing in for what could not be decided."""
        expires = asyncio.get_running_loop().time() + deadline_seconds
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._chunk(chunk, expires)) for chunk in _chunks(documents)]
        return [answer for task in tasks for answer in task.result()]

    async def explain(self, document: bytes, *, deadline_seconds: float) -> str:
        """Return the engine's own evaluation trace of one document, as text with file:line.

        Raises:
            EngineUnavailableError: no answer within the deadline, or no engine.
            NoDecisionError: the answer holds no trace.
        """
        parts = (b'{"input":', document, b"}")
        answer = await self._calls.ask(_EXPLAIN, parts, deadline_seconds, limit=self._process.limits.explanation_bytes)
        return replies.explanation(answer, revision=self.bundle.revision)

    async def _chunk(self, documents: Sequence[bytes], expires: float) -> list[Verdict | AisecopsError]:
        async with self._lanes:
            return await self._calls.isolating(documents, expires)


def _chunks(documents: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Cut ``documents`` evenly over the lanes, within the caps of one request."""
    count = max(1, min(BATCH_DOCUMENTS, -(-len(documents) // BATCH_LANES)))
    start = size = 0
    for at, document in enumerate(documents):
        if at > start and (at - start == count or size + len(document) > BATCH_BYTES):
            yield documents[start:at]
            start, size = at, 0
        size += len(document)
    if start < len(documents):
        yield documents[start:]
