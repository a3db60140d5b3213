"""The configuration files of MCP clients: which servers they start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aisecops_mcp.server_process import Command

# Where the common clients keep their servers: desktop programs, editors.
_PLACES = (("mcpServers",), ("servers",), ("mcp", "servers"), ("context_servers",))


class ConfigError(Exception):
    """A file is not a configuration of an MCP client that is understood."""


def commands_in(data: bytes) -> dict[str, Command]:
    """Return the servers of a configuration file that are started by a command.

    Raises:
        ConfigError: there are none, or one cannot be understood.
    """
    try:
        found = json.loads(data)
    except ValueError as error:
        raise ConfigError(f"not JSON: {error}") from error
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
