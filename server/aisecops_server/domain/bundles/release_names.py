"""Which of several names of releases is the highest: ``v1.10`` after ``v1.9``, and after its own ``v1.10-rc1``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

_NUMBERS = re.compile(r"([0-9]+)")
# The whole version before anything that is appended to it by a dash behind a digit.
_PARTS = re.compile(r"(?s)(.*?[0-9])(?:-(.*))?\Z")
Key = tuple[tuple[int, int, str], ...]


def highest(names: Iterable[str], pattern: str) -> str:
    """Return the highest of ``names`` that match ``pattern`` (``*``, ``?``), or an empty string when none does."""
    return max((name for name in names if fnmatchcase(name, pattern)), key=_rank, default="")


def _rank(name: str) -> tuple[Key, bool, Key, str]:
    found = _PARTS.match(name)
    version, appended = (found[1], found[2]) if found else (name, None)
    return _key(version), appended is None, _key(appended or ""), name


def _key(text: str) -> Key:
    return tuple(
        (1, int(part), "") if _NUMBERS.fullmatch(part) else (0, 0, part) for part in _NUMBERS.split(text) if part
    )
