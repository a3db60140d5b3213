"""Many patterns over one text. One pass tells whether any matches, a second one which, and only those are looked for.

Most texts match none, so most texts cost one pass. The engine is RE2: its time is linear in the text, whatever the
text and the pattern are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import re2

_MEMORY_BYTES = 64 << 20


class PatternUnion:
    """Patterns by their number."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._any = re2.compile("|".join(f"(?:{pattern})" for pattern in patterns), _options())
        self._which = re2.Set.SearchSet(_options())
        for pattern in patterns:
            self._which.Add(pattern)
        self._which.Compile()
        self._each = [re2.compile(pattern, _options()) for pattern in patterns]

    def find(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Yield (number, start, end) of every match of every pattern, by pattern."""
        if not self._any.search(text):
            return
        # A set that runs out of memory names none, where there is one: then each has to be looked for.
        for number in sorted(self._which.Match(text) or range(len(self._each))):
            for match in self._each[number].finditer(text):
                yield number, *match.span()


def _options() -> re2.Options:
    options = re2.Options()
    options.never_capture = True
    # With too little room for its states the engine takes a slower road to the same answer, and would say so aloud.
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False
    return options
