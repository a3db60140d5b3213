"""Lists that a server gives: of its tools, what the agent may ask for; of the rest, what it may ask for at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aisecops.v1.agent_service_pb2 import ListToolsResponse

from aisecops_mcp.definitions import CHANGED, Definitions, unseen
from aisecops_mcp.talk import Say

# What stands in policy for requests that call no tool: the method, its slash a dot.
REQUESTS = frozenset(
    {
        "resources/read",
        "resources/subscribe",
        "prompts/get",
        "completion/complete",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
    }
)
RESERVED = frozenset({CHANGED, *(method.replace("/", ".") for method in REQUESTS)})
# Which member of the result each list has, and the request by which its entries are used.
LISTS: Mapping[str, tuple[str, str]] = {
    "tools/list": ("tools", ""),
    "prompts/list": ("prompts", "prompts.get"),
    "resources/list": ("resources", "resources.read"),
    "resources/templates/list": ("resourceTemplates", "resources.read"),
}


@dataclass(frozen=True, slots=True)
class Access:
    """What the agent may ask one server for, as the control plane said."""

    server: str
    names: frozenset[str]
    unlisted: bool
    definitions: Definitions

    @classmethod
    def of(cls, server: str, told: ListToolsResponse, definitions: Definitions) -> Access:
        """Return the access that the control plane tells of."""
        names = frozenset(tool.tool.partition("/")[2] for tool in told.tools)
        return cls(server, names, told.unlisted, definitions)

    def opens(self, name: str) -> bool:
        """Return whether a tool, or another request by its reserved name, may be asked for."""
        return self.unlisted or name in self.names

    def kept(self, method: str, entries: Iterable[Any]) -> list[Mapping[str, Any]]:
        """Return which entries of a list are shown."""
        _, used_by = LISTS[method]
        sound = [entry for entry in entries if isinstance(entry, Mapping)]
        if used_by:
            return sound if self.opens(used_by) else []
        return [entry for entry in _unambiguous(sound) if self._shows(str(entry.get("name", "")))]

    def _shows(self, name: str) -> bool:
        return self.opens(name) and self.definitions.change_of(name) is None


def _unambiguous(entries: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the tools whose name no other tool of the list has, and that is not a reserved one."""
    names = [entry.get("name") for entry in entries]
    return [entry for entry in entries if names.count(entry.get("name")) == 1 and entry.get("name") not in RESERVED]


def take_in(server: str, definitions: Definitions, entries: Iterable[Any], say: Say) -> None:
    """Look at a list of tools, and tell people what is odd about it."""
    entries = list(entries)
    for change in definitions.seen(entries):
        was = f"was {change.pinned[:12]}" if change.pinned else "has no pin"
        say(f"{server}/{change.tool} is kept back until it is allowed: its definition is {change.found[:12]} and {was}")
    for entry in entries:
        if marks := list(unseen(entry)):
            where, mark = marks[0]
            say(f"{server}/{entry.get('name')}: {len(marks)} characters that cannot be seen, first {mark} in {where}")
    definitions.known = True
