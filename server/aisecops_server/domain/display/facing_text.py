"""Two versions of a text, line beside line: which lines stand in each other's place, and which of them changed.

Bounds: what is alike at both ends is not compared at all, and of a middle that is too long nothing is taken to be
alike, so that no two texts take long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

CONTEXT_LINES = 3
MOST_COMPARED = 4000


@dataclass(frozen=True, slots=True)
class Pair:
    """Two lines that face each other, by their indexes from 0; ``None`` where nothing stands on a side."""

    before: int | None
    after: int | None
    changed: bool


@dataclass(frozen=True, slots=True)
class Block:
    """A run of changed pairs, as ``range`` of the pairs."""

    pairs: range

    @property
    def lines(self) -> int:
        """Return how many lines changed, those of the longer side."""
        return len(self.pairs)


def facing(before: Sequence[str], after: Sequence[str]) -> list[Pair]:
    """Return every line of both sides once, in order, each beside what stands in its place."""
    head = _alike(before, after)
    tail = _alike(before[head:][::-1], after[head:][::-1])
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    compared = max(len(old), len(new)) <= MOST_COMPARED
    middle = _compared(old, new) if compared else _faced(range(len(old)), range(len(new)))
    return [
        *(Pair(at, at, changed=False) for at in range(head)),
        *(Pair(_moved(pair.before, head), _moved(pair.after, head), pair.changed) for pair in middle),
        *(Pair(len(before) - tail + at, len(after) - tail + at, changed=False) for at in range(tail)),
    ]


def blocks(pairs: Sequence[Pair]) -> list[Block]:
    """Return the runs of changed pairs, in order."""
    found: list[Block] = []
    begin = None
    for at, pair in enumerate(pairs):
        if pair.changed and begin is None:
            begin = at
        elif not pair.changed and begin is not None:
            found.append(Block(range(begin, at)))
            begin = None
    if begin is not None:
        found.append(Block(range(begin, len(pairs))))
    return found


def around(wanted: Collection[int], count: int) -> list[range]:
    """Return ``wanted`` of ``count`` lines with those around them, in runs that do not touch."""
    runs: list[range] = []
    for at in sorted(wanted):
        begin, end = max(0, at - CONTEXT_LINES), min(count, at + CONTEXT_LINES + 1)
        if runs and begin <= runs[-1].stop:
            runs[-1] = range(runs[-1].start, max(end, runs[-1].stop))
        else:
            runs.append(range(begin, end))
    return runs


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    differing = (at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)
    return next(differing, min(len(one), len(other)))


def _compared(old: Sequence[str], new: Sequence[str]) -> Iterator[Pair]:
    for kind, old_begin, old_end, new_begin, new_end in SequenceMatcher(None, old, new, autojunk=True).get_opcodes():
        if kind == "equal":
            pairs = zip(range(old_begin, old_end), range(new_begin, new_end), strict=True)
            yield from (Pair(left, right, changed=False) for left, right in pairs)
        else:
            yield from _faced(range(old_begin, old_end), range(new_begin, new_end))


def _faced(old: range, new: range) -> Iterator[Pair]:
    for at in range(max(len(old), len(new))):
        yield Pair(old[at] if at < len(old) else None, new[at] if at < len(new) else None, changed=True)


def _moved(at: int | None, by: int) -> int | None:
    return None if at is None else at + by
