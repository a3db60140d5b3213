"""A Git host's list of owners, read as hosts read it: of the lines whose pattern fits a path, the last one counts.

Hosts differ, and a list can be written so that one of them asks fewer people than it seems. Where readings differ, the
one that asks the fewest groups is believed:

- sections that GitLab calls optional (``^[Name]``) ask nobody there, and are no sections on GitHub;
- a pattern with stars in its last part (``data/a*``) covers what is below a folder of that name on GitHub only.

Sources: GitHub, "About code owners"; GitLab, "Code Owners syntax".
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

_SECTION = re.compile(r"\^?\[[^\]]+\]")


class _Reach(Enum):
    """What a pattern covers where it ends: the path itself, what is below it, or either."""

    ITSELF = "itself"
    BELOW = "below"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class OwnersLine:
    """A line of the list: ``parts`` of its pattern, by who it reaches on GitHub and on GitLab; whom it has asked.

    Who is named other than by ``@`` or an address is asked by no host.
    """

    number: int
    parts: tuple[str, ...]
    reaches: tuple[_Reach, _Reach]
    groups: frozenset[str]
    is_optional: bool

    def fits(self, path: str, reading: int) -> bool:
        """Return whether the line is about ``path``, in time linear in both."""
        names = path.split("/")
        # How many names the parts so far may have taken.
        taken = {0}
        for part in self.parts:
            if part == "**":
                taken = set(range(min(taken, default=len(names) + 1), len(names) + 1))
            else:
                taken = {at + 1 for at in taken if at < len(names) and fnmatch.fnmatchcase(names[at], part)}
        match self.reaches[reading]:
            case _Reach.ITSELF:
                return len(names) in taken
            case _Reach.BELOW:
                return any(at < len(names) for at in taken)
            case _Reach.EITHER:
                return bool(taken)


def read_owners(content: bytes) -> list[OwnersLine]:
    """Return the lines that name a pattern."""
    found, is_optional = [], False
    # Lines and words end as they do for hosts: to them another kind of blank is a letter like any.
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), 1):
        words = [word for word in re.split(r"[ \t\r]+", line.partition("#")[0]) if word]
        if not words:
            continue
        if _SECTION.match(words[0]):
            is_optional = words[0].startswith("^")
            continue
        # An exclusion, on the host that knows one: nobody is asked.
        named = [] if words[0].startswith("!") else words[1:]
        groups = frozenset(word.casefold() for word in named if "@" in word)
        parts, reaches = _read(words[0].removeprefix("!"))
        found.append(OwnersLine(number, parts, reaches, groups, is_optional))
    return found


def asked_by_hosts(path: str, lines: Sequence[OwnersLine]) -> tuple[int, frozenset[str]]:
    """Return who is asked about a change of ``path`` by the host that asks the fewest, and in which line; 0 in none."""
    binding = [line for line in lines if not line.is_optional]
    found = [_last(path, read, reading) for read in (lines, binding) for reading in (0, 1)]
    return min(found, key=lambda each: len(each[1]))


def _last(path: str, lines: Sequence[OwnersLine], reading: int) -> tuple[int, frozenset[str]]:
    for line in reversed(lines):
        if line.fits(path, reading):
            return line.number, line.groups
    return 0, frozenset()


def _read(pattern: str) -> tuple[tuple[str, ...], tuple[_Reach, _Reach]]:
    """Return the parts of a pattern, and what it reaches as GitHub and as GitLab read it."""
    # A class of letters is none to these hosts.
    parts = tuple(part.replace("[", "[[]") for part in pattern.strip("/").split("/"))
    if "/" not in pattern.rstrip("/"):
        parts = ("**", *parts)
    last = parts[-1]
    if pattern.endswith("/"):
        reaches = (_Reach.BELOW, _Reach.BELOW)
    elif last in ("*", "**"):
        reaches = (_Reach.ITSELF, _Reach.ITSELF)
    else:
        reaches = (_Reach.EITHER, _Reach.ITSELF if "*" in last or "?" in last else _Reach.EITHER)
    return parts, reaches
