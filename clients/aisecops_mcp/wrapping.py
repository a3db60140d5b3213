"""Rewriting a client's configuration file so that its servers are governed, and putting it back as it was.

The file's own bytes are kept beside it, so that undoing is exact. Comments and trailing commas, which editors allow
in such files, are read over; the rewritten file has none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aisecops_mcp.client_config import URLS, ConfigError, address_of, read_config, servers_in, url_of
from aisecops_mcp.http_address import Address, AddressError
from aisecops_mcp.naming import Naming

KEPT = ".before-aisecops"
MARK = ("mcp", "proxy")
_SHOWN = frozenset({"authorization"})


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What was done to a file: which servers are governed now, and which are not, by the reason."""

    wrapped: tuple[str, ...]
    left: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reach:
    """How the proxy reaches servers at a URL: files with tokens of its own by server, and who vouches for them."""

    tokens: Mapping[str, Path] = field(default_factory=dict)
    authority: Path | None = None

    def options(self, name: str, entry: Mapping[str, Any]) -> list[str]:
        """Return what the proxy is told of the server of an entry.

        Raises:
            ConfigError, AddressError: it does not reach it.
        """
        headers = entry.get("headers") or {}
        # What the client showed the server until now is what the proxy's own token takes the place of.
        if name in self.tokens and isinstance(headers, Mapping) and {str(one).lower() for one in headers} <= _SHOWN:
            entry = {key: value for key, value in entry.items() if key != "headers"}
        address = address_of(name, entry, Address(str(url_of(entry)), self.tokens.get(name), self.authority))
        address.token()
        given = ["--upstream", f"{name}={address.url}"]
        if address.token_file is not None:
            given += ["--upstream-token", f"{name}={address.token_file.absolute()}"]
        if address.authority_file is not None:
            given += ["--upstream-ca", str(address.authority_file.absolute())]
        return given


def wrap(
    path: Path, program: str, options: Sequence[str], environment: Mapping[str, str], *, reach: Reach = Reach()
) -> Wrapping:
    """Have every server of a configuration file reached by the proxy only, run as ``program`` with ``options``.

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
    servers = servers_in(config)
    if unknown := reach.tokens.keys() - {name for name, entry in servers.items() if url_of(entry) is not None}:
        raise ConfigError(f"no server at a URL in it is called {min(unknown)}, for which a token is given")
    for name, entry in servers.items():
        try:
            line = [*MARK, *options, *_way(name, entry, reach)]
        except ValueError as error:
            left[name] = str(error)
            continue
        # The entry itself is changed, so that whatever else it says stays.
        for gone in (*URLS, "headers"):
            entry.pop(gone, None)  # type: ignore[attr-defined]
        entry.update({"command": program, "args": line, "env": {**entry.get("env", {}), **environment}})  # type: ignore[attr-defined]
        if "type" in entry:
            entry["type"] = "stdio"  # type: ignore[index]
        wrapped.append(name)
    if not wrapped:
        raise ConfigError(
            f"no server in it could be wrapped{''.join(f'; {name}: {why}' for name, why in left.items())}"
        )
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


def _way(name: str, entry: Mapping[str, Any], reach: Reach) -> list[str]:
    """Return what the proxy is told of how a server is started or reached.

    Raises:
        ValueError: it cannot be governed, and why.
    """
    Naming((name,))
    if not isinstance(entry.get("args", []), list) or ("command" in entry and not isinstance(entry["command"], str)):
        raise ValueError("its command is no text, or its args are no list")
    if tuple(entry.get("args", [])[:2]) == MARK:
        raise ValueError("it is governed already")
    if "command" in entry:
        return ["--name", name, "--", entry["command"], *entry.get("args", [])]
    if url_of(entry) is None:
        raise ValueError("it has no command and no url")
    try:
        return reach.options(name, entry)
    except (ConfigError, AddressError) as error:
        raise ValueError(str(error).removeprefix(f"{name}: ")) from error
