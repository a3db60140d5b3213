"""What the human said, as words and phrases; nothing here tries to understand them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.grounding.argument_values import ArgumentValue, without_file_ending
from aisecops_server.domain.grounding.normal_form import words
from aisecops_server.domain.grounding.source_text import SourceText

MOST_WORDS = 1_024
LONGEST_PHRASE = 8
SHORTEST_NAME = 3
LONGEST_REMEMBERED = 8 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """The words of all prompts in order, and every run of two to eight of them."""

    known: bool
    spoken: frozenset[str]
    runs: frozenset[str]
    truncated: bool

    @classmethod
    def of(cls, prompts: Sequence[SourceText]) -> Request:
        """Return what ``prompts`` say; words beyond the bound are dropped, and that is said."""
        return _request(tuple(prompt.reread or prompt.plain for prompt in prompts))

    def part(self) -> JsonValue:
        """Return the ``RequestPart`` of the input document."""
        return {"known": self.known, "words": dict.fromkeys(sorted(self.spoken), True), "truncated": self.truncated}

    def names(self, value: ArgumentValue) -> bool:
        """Return whether every word of a value was said; of an e-mail address, those before the @."""
        name = value.value.partition("@")[0] if value.shape == "email" else without_file_ending(value.needle)
        said = words(name)
        tells = any(len(word) >= SHORTEST_NAME and not word.isdigit() for word in said)
        return tells and all(word in self.spoken for word in said)


def phrase_of(scalar: str) -> str:
    """Return a scalar of two to eight words as it would be said, file endings aside, or an empty string."""
    if scalar.isalnum():
        return ""
    said = words(without_file_ending(scalar))
    return " ".join(said) if 1 < len(said) <= LONGEST_PHRASE and not all(map(str.isdigit, said)) else ""


def _spoken(prompts: tuple[str, ...]) -> Request:
    runs: set[str] = set()
    spoken: dict[str, None] = {}
    truncated = False
    for prompt in prompts:
        said = words(prompt)
        truncated |= len(spoken) + len(said) > MOST_WORDS
        said = said[: max(0, MOST_WORDS - len(spoken))]
        spoken.update(dict.fromkeys(said))
        for length in range(2, LONGEST_PHRASE + 1):
            runs.update(" ".join(said[at : at + length]) for at in range(len(said) - length + 1))
    return Request(bool(prompts), frozenset(spoken), frozenset(runs), truncated)


# A conversation's prompts come back with every step.
_remembered = functools.lru_cache(maxsize=256)(_spoken)


def _request(prompts: tuple[str, ...]) -> Request:
    short = sum(map(len, prompts)) <= LONGEST_REMEMBERED
    return _remembered(prompts) if short else _spoken(prompts)
