"""The configuration files of MCP clients: which servers they start.

Editors allow comments and trailing commas in them, so these are read over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from aisecops_mcp.server_process import Command

# Where the common clients keep their servers: desktop programs, editors.
_PLACES = (("mcpServers",), ("servers",), ("mcp", "servers"), ("context_servers",))

_SKIPPED = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


class ConfigError(Exception):
    """A file is not a configuration of an MCP client that is understood."""


def commands_in(data: bytes) -> dict[str, Command]:
    """Return the servers of a configuration file that are started by a command.

    Raises:
        ConfigError: there are none, or one cannot be understood.
    """
    found = read_config(data)
    commands = {name: _command(name, entry) for name, entry in servers_in(found).items() if "command" in entry}
    if not commands:
        raise ConfigError(f"no server with a command under {' or '.join('.'.join(place) for place in _PLACES)}")
    return commands


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
