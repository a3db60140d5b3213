"""The texts of ``hostile_texts.yaml``, and how each has to look on a page that takes it for text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from aisecops_server.domain.display.visible_text import pieces
from aisecops_server.entrypoints.web.markup import FOLDED_CHARACTERS

_FILE = Path(__file__).with_name("hostile_texts.yaml")


@dataclass(frozen=True, slots=True)
class HostileText:
    """One text, what it is, where it is dangerous, and what becomes of it where it is not escaped."""

    category: str
    raw: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.category}: {self.text[:60]!r}"


@cache
def hostile_texts() -> Sequence[HostileText]:
    groups = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return tuple(
        HostileText(group["category"], group["raw"], group["place"], _whole(text))
        for group in groups
        for text in group["texts"]
    )


def _whole(text: str | dict[str, object]) -> str:
    return text if isinstance(text, str) else str(text["of"]) * int(str(text["times"]))


def seen(text: str) -> str:
    """Return what a page says in place of ``text``: the same, with what hides as its code point, on one line."""
    return on_one_line("".join(plain or code for plain, code in pieces(text[:FOLDED_CHARACTERS])))


def on_one_line(text: str) -> str:
    """Return text as a browser lays it out: any white space is one blank."""
    return " ".join(text.split())


def parcels(texts: Sequence[HostileText], *, characters: int) -> Iterator[tuple[str, Sequence[HostileText]]]:
    """Yield texts put together, each no longer than ``characters``; what alone is longer is left out."""
    held: list[HostileText] = []
    for one in texts:
        if len(one.text) > characters:
            continue
        if held and len("\n".join(other.text for other in [*held, one])) > characters:
            yield "\n".join(other.text for other in held), tuple(held)
            held = []
        held.append(one)
    if held:
        yield "\n".join(other.text for other in held), tuple(held)


def hidden_in(text: str) -> list[str]:
    """Return the steering and hiding characters of a page's own text, which has none."""
    return [chr(int(code.removeprefix("U+"), 16)) for plain, code in pieces(text) if code]
