"""Many patterns over one text. One pass tells whether any matches, a second one which, and only those are looked for.

Most texts match none, so most texts cost one pass. The engine is RE2: its time is linear in the text, whatever the
text and the pattern are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import re2

_MEMORY_BYTES = 64 << 20
# So few are sooner looked for one by one.
_FEW = 2


class PatternUnion:
    """Patterns by their number. They are compiled when they are first looked for: most commands look for none."""

    def __init__(self, patterns: Sequence[str]) -> None:
        # As bytes, so that a text is encoded once for all of them.
        self._patterns = [pattern.encode() for pattern in patterns]

    @cached_property
    def _any(self) -> Any:
        return re2.compile(b"|".join(b"(?:%b)" % pattern for pattern in self._patterns), _options())

    @cached_property
    def _which(self) -> Any:
        which = re2.Set.SearchSet(_options())
        for pattern in self._patterns:
            which.Add(pattern)
        which.Compile()
        return which

    @cached_property
    def _each(self) -> list[Any]:
        return [re2.compile(pattern, _options()) for pattern in self._patterns]

    def find(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Yield (number, start, end) of every match of every pattern, by pattern."""
        data = text.encode()
        is_plain = len(data) == len(text)
        numbers, begin = self._candidates(data)
        for number in numbers:
            spans = (match.span() for match in self._each[number].finditer(data, begin))
            yield from ((number, *span) for span in (spans if is_plain else _in_characters(data, spans)))

    def _candidates(self, data: bytes) -> tuple[Sequence[int], int]:
        """Return which patterns may match, and where the first match begins at the earliest."""
        every = range(len(self._patterns))
        if len(every) <= _FEW:
            return every, 0
        first = self._any.search(data)
        if not first:
            return (), 0
        # A set that runs out of memory names none, where there is one: then each has to be looked for.
        return sorted(self._which.Match(data) or every), first.start()


def _in_characters(data: bytes, spans: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield spans of encoded text, in order, as spans of the text."""
    at = characters = 0
    for span in spans:
        told = []
        for byte in span:
            characters += len(data[at:byte].decode())
            at = byte
            told.append(characters)
        yield told[0], told[1]


def _options() -> re2.Options:
    options = re2.Options()
    options.never_capture = True
    # With too little room for its states the engine takes a slower road to the same answer, and would say so aloud.
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False
    return options
