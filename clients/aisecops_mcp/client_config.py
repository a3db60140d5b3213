"""The configuration files of MCP clients: which servers they start, and which they reach at a URL.

Editors allow comments and trailing commas in them, so these are read over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aisecops_mcp.http_address import Address
from aisecops_mcp.server_process import Command

# Where the common clients keep their servers: desktop programs, editors.
_PLACES = (("mcpServers",), ("servers",), ("mcp", "servers"), ("context_servers",))
URLS = ("url", "serverUrl", "httpUrl")
_TRANSPORTS = frozenset({"http", "streamable-http", "streamableHttp", "streamable_http"})

_SKIPPED = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


class ConfigError(Exception):
    """A file is not a configuration of an MCP client that is understood."""


def places_in(data: bytes, tokens: Mapping[str, Path], authority: Path | None = None) -> dict[str, Command | Address]:
    """Return the servers of a configuration file, by how they are reached.

    ``tokens`` are files with the proxy's own token for servers at a URL, ``authority`` what their certificates are
    checked with.

    Raises:
        ConfigError: there are none, or one cannot be understood or reached.
    """
    found: dict[str, Command | Address] = {}
    for name, entry in servers_in(read_config(data)).items():
        if "command" in entry:
            found[name] = _command(name, entry)
        elif url := url_of(entry):
            found[name] = address_of(name, entry, Address(str(url), tokens.get(name), authority))
    if not found:
        places = " or ".join(".".join(place) for place in _PLACES)
        raise ConfigError(f"no server with a command or a url under {places}")
    return found


def url_of(entry: Mapping[str, Any]) -> Any:
    """Return what an entry says where its server is reached; ``None`` if it says nothing."""
    return next((entry[key] for key in URLS if key in entry), None)


def address_of(name: str, entry: Mapping[str, Any], address: Address) -> Address:
    """Return where the server of an entry is reached.

    Raises:
        ConfigError: it is not reached so, or with what is the client's.
    """
    if not isinstance(url_of(entry), str) or entry.get("type", "http") not in _TRANSPORTS:
        raise ConfigError(f"{name}: what is at a URL is reached by Streamable HTTP only (type http)")
    if entry.get("headers"):
        raise ConfigError(
            f"{name}: headers are not taken from this file, because what is in them is the client's;"
            f" give the proxy's own token with --upstream-token {name}=FILE"
        )
    return address


def servers_in(config: Any) -> Mapping[str, Mapping[str, Any]]:
    """Return the servers of a configuration; there may be none."""
    for place in _PLACES:
        found = config
        for name in place:
            found = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping):
            return {name: entry for name, entry in found.items() if isinstance(entry, Mapping)}
    return {}


def read_config(data: bytes) -> Any:
    """Return a configuration, read over comments and trailing commas.

    Raises:
        ConfigError: it is not JSON besides.
    """
    try:
        text = data.decode("utf-8-sig")
        return json.loads(_TRAILING.sub(_string_only, _SKIPPED.sub(_string_only, text)))
    except ValueError as error:
        raise ConfigError(f"not JSON: {error}") from error


def _string_only(found: re.Match[str]) -> str:
    return found[1] or ""


def _command(name: str, entry: Mapping[str, Any]) -> Command:
    command, arguments, environment = entry["command"], entry.get("args", []), entry.get("env", {})
    sound = (
        isinstance(command, str)
        and isinstance(arguments, list)
        and isinstance(environment, Mapping)
        and all(isinstance(word, str) for word in (*arguments, *environment, *environment.values()))
    )
    if not sound:
        raise ConfigError(f"{name}: command is a text, args a list of texts, env an object of texts")
    directory = entry.get("cwd")
    return Command((command, *arguments), dict(environment), directory if isinstance(directory, str) else None)
