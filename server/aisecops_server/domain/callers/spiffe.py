"""SPIFFE ids, read strictly: what two readers could take for different workloads is none."""

from __future__ import annotations

import string
from dataclasses import dataclass

_SCHEME = "spiffe://"
_DOMAIN = frozenset(string.ascii_lowercase + string.digits + "._-")
_SEGMENT = frozenset(string.ascii_letters + string.digits + "._-")
_DOMAIN_CHARACTERS = 255
_RELATIVE = frozenset({".", ".."})


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """The id of one workload or person: ``spiffe://`` trust domain, path. The path begins with a slash."""

    trust_domain: str
    path: str

    def __str__(self) -> str:
        """Return the id as it travels."""
        return f"{_SCHEME}{self.trust_domain}{self.path}"


def is_trust_domain(text: str) -> bool:
    """Return whether ``text`` names one trust domain; patterns name none."""
    return 0 < len(text) <= _DOMAIN_CHARACTERS and _DOMAIN.issuperset(text) and not text.startswith((".", "-"))


def is_path(text: str) -> bool:
    """Return whether ``text`` is a path: one or more ``/segment``, of which none is relative."""
    first, *segments = text.split("/")
    return not first and bool(segments) and all(map(_is_segment, segments))


def parse(text: str) -> SpiffeId | None:
    """Return the id that ``text`` is, or ``None`` when it is not exactly one with a path."""
    if not text.startswith(_SCHEME):
        return None
    domain, slash, path = text.removeprefix(_SCHEME).partition("/")
    if not is_trust_domain(domain) or not is_path(slash + path):
        return None
    return SpiffeId(domain, slash + path)


def _is_segment(text: str) -> bool:
    return bool(text) and _SEGMENT.issuperset(text) and text not in _RELATIVE
