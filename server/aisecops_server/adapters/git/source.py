"""Which remotes and which names are let near the git CLI.

Every rule here is an allow-list; whatever it does not know is refused before git sees it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.domain.errors import RepositoryUnavailableError, UnknownRevisionError

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^\s\x00-\x1f\x7f]+)")
_SCP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9_~./][A-Za-z0-9_~./+-]*")
_SCHEMES = frozenset({"https", "ssh", "file"})
_PROPOSAL = re.compile(r"(pull|merge-requests)/([0-9]{1,9})(?:/(head|merge))?")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+@-]{0,254}")
_BEFORE_DIGITS = 5
_FORBIDDEN_IN_NAMES = ("..", "@{", "//", "/.", ".lock/")
_HINT = "Name a local directory, or a URL that starts with https://, ssh:// or file://"


@dataclass(frozen=True, slots=True)
class Source:
    """Where policy comes from. ``shown`` is ``location`` without a password."""

    location: str
    shown: str
    directory: Path | None


def parse_source(text: str) -> Source:
    """Return the repository that ``text`` names.

    Raises:
        RepositoryUnavailableError: it is not a local path, or not a URL of an allowed kind.
    """
    if not text or text.startswith("-") or not text.isprintable():
        raise RepositoryUnavailableError("the policy repository's name is not a path or a URL", hint=_HINT)
    if match := _URL.fullmatch(text):
        return _url(text, match)
    if _SCP.fullmatch(text):
        return Source(text, text, None)
    # Before its first slash, a colon makes git see a host or a protocol helper.
    if ":" in text.partition("/")[0] or "://" in text:
        raise RepositoryUnavailableError("the policy repository's URL is of a kind that is not allowed", hint=_HINT)
    # Unlike Path.expanduser, this leaves an unknown user's name as it is.
    directory = Path(os.path.expanduser(text)).absolute()  # noqa: PTH111
    return Source(str(directory), str(directory), directory)


def _url(text: str, match: re.Match[str]) -> Source:
    scheme, rest = match["scheme"].lower(), match["rest"]
    authority = rest.partition("/")[0]
    host = authority.rpartition("@")[2]
    if scheme not in _SCHEMES or host.startswith("-") or authority.startswith("-"):
        raise RepositoryUnavailableError(f"a policy repository cannot be read by {scheme}://", hint=_HINT)
    shown = text.replace(authority, host, 1) if "@" in authority else text
    return Source(text, shown, None)


def ancestor_name(name: str) -> tuple[str, int]:
    """Split ``NAME~N`` into a name that may be looked up and how many commits before it are meant.

    Raises:
        UnknownRevisionError: it may not be looked up.
    """
    base, tilde, before = name.partition("~")
    if tilde and not (before.isascii() and before.isdigit() and len(before) <= _BEFORE_DIGITS):
        raise _unknown_name()
    return ref_name(base), int(before or 0)


def proposal_ref(name: str) -> str:
    """Return the reference of a proposal such as ``pull/7`` or ``merge-requests/7``; empty for any other name."""
    found = _PROPOSAL.fullmatch(name)
    return f"refs/{found[1]}/{found[2]}/{found[3] or 'head'}" if found else ""


def ref_name(name: str) -> str:
    """Return ``name`` if it may be the name of a branch or tag.

    Raises:
        UnknownRevisionError: it may not.
    """
    if not _NAME.fullmatch(name) or name.endswith((".lock", "/", ".")) or any(p in name for p in _FORBIDDEN_IN_NAMES):
        raise _unknown_name()
    return name


def _unknown_name() -> UnknownRevisionError:
    return UnknownRevisionError(
        "that is not a commit id, branch or tag", hint="'aisecops bundle list' shows the commits that can be activated"
    )
