"""Rewriting a client's configuration file so that its servers are governed, and putting it back as it was.

The file's own bytes are kept beside it, so that undoing is exact. Comments and trailing commas, which editors allow
in such files, are read over; the rewritten file has none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisecops_mcp.client_config import ConfigError, read_config, servers_in
from aisecops_mcp.naming import Naming

KEPT = ".before-aisecops"
MARK = ("mcp", "proxy")


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What was done to a file: which servers are governed now, and which are not, by the reason."""

    wrapped: tuple[str, ...]
    left: Mapping[str, str]


def wrap(path: Path, program: str, options: Sequence[str], environment: Mapping[str, str]) -> Wrapping:
    """Have every server of a configuration file started by the proxy, run as ``program`` with ``options``.

    Raises:
        ConfigError: it is none, is wrapped already, or has nothing to wrap.
        OSError: it cannot be read or written.
    """
    before = path.read_bytes()
    kept = path.with_name(path.name + KEPT)
    if kept.exists():
        raise ConfigError(f"it is wrapped already; {kept.name} holds what it was. Undo that first")
    config = read_config(before)
    wrapped, left = [], {}
    for name, entry in servers_in(config).items():
        if reason := _why_not(name, entry):
            left[name] = reason
            continue
        line = [*MARK, "--name", name, *options, "--", entry["command"], *entry.get("args", [])]
        # The entry itself is changed, so that whatever else it says stays.
        entry.update({"command": program, "args": line, "env": {**entry.get("env", {}), **environment}})  # type: ignore[attr-defined]
        wrapped.append(name)
    if not wrapped:
        raise ConfigError("no server in it is started by a command that could be wrapped")
    after = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
    # First what undoes it: whatever happens after this, nothing is lost.
    kept.write_bytes(hashlib.sha256(after).hexdigest().encode() + b"\n" + before)
    kept.chmod(0o600)
    path.write_bytes(after)
    return Wrapping(tuple(wrapped), left)


def undo(path: Path) -> None:
    """Put a configuration file back, byte for byte.

    Raises:
        ConfigError: it was not wrapped, or was changed since.
        OSError: it cannot be read or written.
    """
    kept = path.with_name(path.name + KEPT)
    if not kept.exists():
        raise ConfigError(f"it is not wrapped: there is no {kept.name} beside it")
    digest, _, before = kept.read_bytes().partition(b"\n")
    if hashlib.sha256(path.read_bytes()).hexdigest().encode() != digest:
        raise ConfigError(
            f"it was changed since it was wrapped. Put into it by hand what {kept.name} has below its first line"
        )
    path.write_bytes(before)
    kept.unlink()


def _why_not(name: str, entry: Mapping[str, Any]) -> str:
    if not isinstance(entry.get("command"), str) or not isinstance(entry.get("args", []), list):
        return "it is not started by a command" if "url" in entry else "it has no command"
    if tuple(entry.get("args", [])[:2]) == MARK:
        return "it is governed already"
    try:
        Naming((name,))
    except ValueError as error:
        return str(error)
    return ""
