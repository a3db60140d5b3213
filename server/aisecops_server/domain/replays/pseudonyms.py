"""Documents of real decisions with their private words replaced, so that they can be judged outside the control plane.

A word is a run of letters and digits. Words that stand in the policy itself are kept, because rules can only compare
with those; every other word becomes another one of the same length and kind, the same one wherever it stands, so that
what was equal stays equal. The key is made for one export and kept nowhere. Whether a document is still decided as it
was is for the caller to find out: one that is not must not be passed on.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from aisecops_server.domain.formats.canonical import JsonValue

_LOWER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
_KEY_BYTES = 32
# Where the time stands, and digests of policy's own entries: no words of anybody's.
_UNTOUCHED = frozenset({"now", "tool_digests", "revision"})


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Replaces words. ``kept`` are those of the policy, case-folded."""

    key: bytes
    kept: frozenset[str]
    _known: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a key that could be guessed."""
        if len(self.key) < _KEY_BYTES:
            raise ValueError("the key is too short")

    def document(self, content: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Return a document with its private words replaced."""
        return {name: value if name in _UNTOUCHED else self._value(value) for name, value in content.items()}

    def text(self, text: str) -> str:
        """Return a text with its private words replaced."""
        return "".join(self._word(part) if part.isalnum() else part for part in _parts(text))

    def _value(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._value(part) for part in value]
        if isinstance(value, dict):
            return {self.text(name): part if name in _UNTOUCHED else self._value(part) for name, part in value.items()}
        return value

    def _word(self, word: str) -> str:
        if word.casefold() in self.kept:
            return word
        if word not in self._known:
            # Upper and lower case of one word stay one word: the human and the agent may spell it differently.
            seed = hmac.digest(self.key, word.casefold().encode(), "sha256")
            self._known[word] = "".join(_like(sign, byte) for sign, byte in zip(word, _stream(seed), strict=False))
        return self._known[word]


def words_of(texts: Iterable[bytes]) -> frozenset[str]:
    """Return the words of a policy's files, case-folded."""
    found: set[str] = set()
    for text in texts:
        found.update(part.casefold() for part in _parts(text.decode("utf-8", "replace")) if part.isalnum())
    return frozenset(found)


def _parts(text: str) -> Iterator[str]:
    """Yield runs of letters and digits, and what stands between them."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or text[at].isalnum() != text[start].isalnum():
            yield text[start:at]
            start = at


def _stream(seed: bytes) -> Iterator[int]:
    while True:
        yield from seed
        seed = hashlib.sha256(seed).digest()


def _like(sign: str, byte: int) -> str:
    if sign.isdigit():
        return _DIGITS[byte % 10]
    letter = _LOWER[byte % 26]
    return letter.upper() if sign.isupper() else letter
