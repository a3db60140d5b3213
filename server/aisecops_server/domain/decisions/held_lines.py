"""Which lines of policy held while one document was decided, read from the engine's own trace of it.

A line *held* when what stands on it was true for at least one thing that it was tried on; it *failed* when it was
tried and never held; the others were not reached. The head of a clause held when the clause gave a value. Values of
the document stand in a trace too, quoted and behind the place, so that none of them can look like an event.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Place = tuple[str, int]

_EVENT = re.compile(r"/(?P<file>\S+):(?P<line>\d+) +(?P<depth>(?:\| )*)(?P<kind>Enter|Eval|Exit|Fail) (?P<text>.*)")
# What is entered and left is a clause, or a query within one; only a clause is nothing but a name.
_CLAUSE = re.compile(r"data[.\[][^\s();=]*( early)?")
# The compiler moves the annotations of a rule to its begin, whatever line asks for them.
_MOVED = re.compile(r"__local\d+__ = \[\{\"path\": ")
_BAR = len("| ")


class Mark(StrEnum):
    """What became of a line."""

    HELD = "HELD"
    FAILED = "FAILED"


def held_lines(trace: str) -> Mapping[Place, Mark]:
    """Return the lines that were reached, by the file's path in the repository and the line; empty for no trace."""
    lines: dict[Place, _Line] = {}
    for place, depth, kind, text in _events(trace):
        lines.setdefault(place, _Line()).add(depth, kind, text)
    return {place: mark for place, line in lines.items() if (mark := line.mark())}


def _events(trace: str) -> Iterator[tuple[Place, int, str, str]]:
    for told in trace.splitlines():
        if (found := _EVENT.match(told)) and not _MOVED.match(found["text"]):
            place = (f"rego/{found['file']}", int(found["line"]))
            yield place, len(found["depth"]) // _BAR, found["kind"], found["text"]


@dataclass(slots=True)
class _Line:
    """How often what stands on one line was tried and failed, by how deep in the evaluation that was."""

    tried: dict[int, Counter[str]] = field(default_factory=dict)
    failed: dict[int, Counter[str]] = field(default_factory=dict)
    entered: Counter[int] = field(default_factory=Counter)
    left: Counter[int] = field(default_factory=Counter)

    def add(self, depth: int, kind: str, text: str) -> None:
        match kind:
            case "Enter" | "Exit":
                if _CLAUSE.fullmatch(text):
                    # It is left from within.
                    counted, at = (self.entered, depth) if kind == "Enter" else (self.left, depth - 1)
                    counted[at] += 1
            case _:
                kept = self.tried if kind == "Eval" else self.failed
                kept.setdefault(depth, Counter())[text] += 1

    def mark(self) -> Mark | None:
        # Where a name is asked for by an expression, such as `not data.x`, that stands at the same depth.
        heads = [depth for depth in self.entered if depth not in self.tried]
        if heads:
            return Mark.HELD if any(self.left[depth] for depth in heads) else Mark.FAILED
        depths = self._outer()
        if not depths:
            return None
        return Mark.HELD if any(map(self._held, depths)) else Mark.FAILED

    def _outer(self) -> list[int]:
        """Return the depths that count: what a ``not`` asks stands below it, and says the contrary."""
        negated = min((depth for depth, texts in self.tried.items() if any(map(_is_not, texts))), default=None)
        return [depth for depth in self.tried if negated is None or depth <= negated]

    def _held(self, depth: int) -> bool:
        failed = self.failed.get(depth, Counter())
        return all(count > failed[text] for text, count in self.tried[depth].items())


def _is_not(text: str) -> bool:
    return text.startswith("not ")
