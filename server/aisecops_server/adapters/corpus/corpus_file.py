"""A corpus: recorded decisions in a file, to be replayed where no control plane can be reached.

The first line says what it is and what was left out; each further line is one decision with its document. A file that
ends in ``.gz`` is compressed. Nothing in it is believed more than a log: a document that is not the one its decision
names is told by its doubt, and a replay says so.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from aisecops_server.domain.errors import InvalidRequestError, NotFoundError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.log.record import LogHead
from aisecops_server.domain.replays.recorded_decision import Doubt, Place, RecordedDecision
from aisecops_server.domain.replays.replay import Selection

VERSION = 1
MOST_BYTES = 512 * 1024 * 1024
_COMPRESSED = ".gz"


def write_corpus(path: Path, head: Mapping[str, JsonValue], decisions: Iterable[RecordedDecision]) -> int:
    """Write a corpus and return how many decisions it holds.

    Raises:
        OSError: it cannot be written.
    """
    lines = [orjson.dumps({"corpus_version": VERSION, **head}, option=orjson.OPT_SORT_KEYS)]
    for decision in decisions:
        told = {"index": decision.index, "details": decision.details, "document": decision.content}
        lines.append(orjson.dumps(told, option=orjson.OPT_SORT_KEYS))
    content = b"\n".join(lines) + b"\n"
    # Without a time, so that the same decisions give the same bytes.
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == _COMPRESSED else content)
    return len(lines) - 1


@dataclass(frozen=True, slots=True)
class CorpusHistory:
    """Implements ``History`` over a corpus that was read whole."""

    decisions: Sequence[RecordedDecision]
    leaves: Sequence[bytes]
    root: bytes

    async def head(self) -> LogHead:
        """Return how many decisions there are, and the digest of the file."""
        return LogHead(len(self.decisions), self.root)

    async def count(self, selection: Selection, *, until: int) -> int:
        """Return how many decisions are selected."""
        return len(self._selected(selection, until))

    async def places(self, selection: Selection, *, after: Place | None, limit: int, until: int) -> list[Place]:
        """Return where the selected decisions stand, in the order of the file."""
        first = after.index if after else -1
        return [self._place(number) for number in self._selected(selection, until) if number > first][:limit]

    async def strata(self, selection: Selection, *, most: int, until: int) -> dict[str, list[Place]]:
        """Return places by outcome, agent and rules of their decisions."""
        found: dict[str, list[Place]] = {}
        for number in self._selected(selection, until)[:most]:
            decision = self.decisions[number]
            key = f"{decision.text('outcome')}\n{decision.agent_id}\n{' '.join(decision.rules)}"
            found.setdefault(key, []).append(self._place(number))
        return found

    async def read(self, places: Sequence[Place]) -> list[RecordedDecision]:
        """Return the decisions at ``places``."""
        return [self.decisions[place.index] for place in places]

    async def of_trace(self, trace_id: str) -> list[RecordedDecision]:
        """Return the decisions of one trace."""
        return [decision for decision in self.decisions if decision.text("trace_id") == trace_id]

    async def decision(self, decision_id: str) -> RecordedDecision:
        """Return one decision.

        Raises:
            NotFoundError: there is none.
        """
        for decision in self.decisions:
            if decision.decision_id == decision_id:
                return decision
        raise NotFoundError(f"the corpus has no decision {decision_id[:64]}", hint="Name another", id=decision_id[:64])

    async def close(self) -> None:
        """Do nothing: the file was read whole."""

    def _selected(self, selection: Selection, until: int) -> list[int]:
        return [number for number, each in enumerate(self.decisions[:until]) if selection.holds(each)]

    def _place(self, number: int) -> Place:
        return Place(number, number, self.leaves[number])


def read_corpus(path: Path) -> CorpusHistory:
    """Return the decisions of a corpus.

    Raises:
        InvalidRequestError: it is none, or too large.
    """
    lines = _content(path).splitlines()
    try:
        head: Any = orjson.loads(lines[0]) if lines else {}
        if not isinstance(head, dict) or head.get("corpus_version") != VERSION:
            raise _refused(path, "it is no corpus of this version")
        decisions = [_decision(number, orjson.loads(line)) for number, line in enumerate(lines[1:])]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise _refused(path, "a line of it is no decision") from error
    leaves = [hashlib.sha256(line).digest() for line in lines[1:]]
    return CorpusHistory(decisions, leaves, hashlib.sha256(b"".join(leaves)).digest())


def _content(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == _COMPRESSED else path.open("rb") as stream:
            content: bytes = stream.read(MOST_BYTES + 1)
    except (OSError, EOFError) as error:
        raise _refused(path, "it cannot be read") from error
    if len(content) > MOST_BYTES:
        raise _refused(path, "it is too large")
    return content


def _decision(number: int, line: Any) -> RecordedDecision:
    details, content = line["details"], line["document"]
    if not isinstance(details, dict) or not isinstance(content, dict):
        raise TypeError("not a decision")
    document = canonical_bytes(content)
    altered = details.get("document_digest") != digest(document)
    return RecordedDecision(number, details, document, content, Doubt.DOCUMENT_ALTERED if altered else None)


def _refused(path: Path, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{path}: {why}", hint="'aisecops policy corpus export' writes one", field="corpus")
