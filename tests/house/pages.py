"""The written pages: their links, their console blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.house import tree

FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
SEPARATORS = ("|", "&&", "||", ";", "&", ">", ">>", "<", "2>&1")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page, as words, without redirections and what comes after a pipe."""

    page: str
    words: tuple[str, ...]


def pages() -> list[str]:
    """Return every Markdown page."""
    return [path for path in tree.files() if path.endswith(".md")]


def links(page: str) -> set[str]:
    """Return the link targets of a page, code left out."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", tree.text(page)))
    return set(LINK.findall(prose))


def anchors(page: str) -> set[str]:
    """Return the anchors that a page's headings make, the way code hosts make them."""
    headings = re.findall(r"^#+ +(.*)$", FENCE.sub("", tree.text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands(page: str) -> Iterator[Command]:
    """Yield every command that a page shows after a prompt."""
    for language, body in FENCE.findall(tree.text(page)):
        if language in ("console", "sh", "bash"):
            lines = body.replace("\\\n", " ").splitlines()
            for line in lines:
                if line.startswith("$ "):
                    yield from (Command(page, words) for words in _split(line[2:]))


def _split(line: str) -> Iterator[tuple[str, ...]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word in SEPARATORS:
            yield tuple(words)
            words = []
        else:
            words.append(word)
    yield tuple(words)
