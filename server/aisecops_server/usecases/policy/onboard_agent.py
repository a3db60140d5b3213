"""Recorded traces and a policy's tables in; entries for the agents, servers and tools that the tables lack out.

Nothing is granted that no trace calls, what the tables hold already is never changed, and every guess is a remark for a
person to check. Nothing is read, written or committed here. Where an entry that is there would have to change, that is
said as work by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from pydantic import ValidationError

from aisecops_server.domain.agents.onboarding import TABLES, Entry, NewEntry, Onboarding, Table
from aisecops_server.domain.agents.sightings import Sightings, is_tool_name, shown, sightings_of
from aisecops_server.domain.agents.tool_guess import GRAVITY, guess_effect, guess_reach
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.recordings.recorded_trace import RecordedTrace
from aisecops_server.domain.tables.compiled_tables import compile_tables
from aisecops_server.domain.tables.policy_tables import ToolEffect, ToolEntry
from aisecops_server.domain.tables.vocabulary import Vocabulary, name_words

UNASSIGNED = "unassigned"
_RISKS: Mapping[ToolEffect, str] = {"read": "low", "write": "medium", "send": "medium"}
_DOES: Mapping[ToolEffect, str] = {
    "read": "Read from",
    "write": "Change things of",
    "send": "Send with",
    "delete": "Remove things of",
    "spend": "Spend with",
    "execute": "Do anything with",
}
_UNKNOWN_EFFECT = "its name says nothing that is known, so the worst: check"
_SHOWN_ARGUMENTS = 12


@dataclass(frozen=True, slots=True)
class Said:
    """What the person says who onboards.

    The team that answers, tools as they describe them, whose systems the tools work on, and the agent and environment
    of traces that name none. On own systems, what neither sends nor spends nor is given an address stays inside.
    """

    owner: str = UNASSIGNED
    tools: Mapping[str, JsonValue] = field(default_factory=dict)
    systems: Literal["own", "unknown"] = "unknown"
    agent: str = ""
    environment: str = ""


def onboard_agents(traces: Iterable[RecordedTrace], files: Mapping[str, JsonValue], said: Said) -> Onboarding:
    """Return what the tables in ``files`` (table name to parsed YAML) lack to decide ``traces`` on their merits.

    Raises:
        InvalidRequestError: a trace does not say its agent or environment, or a described tool is malformed.
        BundleRejectedError: the tables are not whole as they are.
    """
    compile_tables(files)
    draft = _Draft(_Policy(files), said, _described(said.tools), sightings_of(traces, said.agent, said.environment))
    draft.fill()
    found = Onboarding(tuple(draft.added), tuple(draft.by_hand), tuple(draft.seen.unusable))
    compile_tables(merged(files, found))
    return found


def merged(files: Mapping[str, JsonValue], found: Onboarding) -> dict[str, JsonValue]:
    """Return the tables with the new entries in them."""
    added = {name: {entry.key: dict(entry.fields) for entry in found.of(name)} for name in TABLES}
    return {**files, **{name: {**_entries(files, name), **added[name]} for name in TABLES}}


def _entries(files: Mapping[str, JsonValue], name: str) -> dict[str, Entry]:
    held = files.get(name)
    return {key: entry for key, entry in held.items() if isinstance(entry, dict)} if isinstance(held, dict) else {}


def _described(tools: Mapping[str, JsonValue]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for name, entry in tools.items():
        if not is_tool_name(name) or not isinstance(entry, dict):
            raise _malformed(name, "its name or form is not that of a tool", "server/tool: {effect: read}")
        found[name] = {"description": _words(name), **entry}
        try:
            ToolEntry.model_validate(found[name])
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise _malformed(name, f"{where}: {first['msg']}", "the fields of data/tools.yaml, any of them") from error
    return found


def _malformed(tool: str, why: str, expected: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the table of tools, {shown(tool)}: {why}", hint=f"Write {expected}; see 'Policy tables'", field="tools"
    )


def _words(tool: str) -> str:
    return f"{' '.join(name_words(tool.partition('/')[2])).capitalize() or tool}."


class _Policy:
    """The four tables as they are, with what is added to them."""

    def __init__(self, files: Mapping[str, JsonValue]) -> None:
        self.tables = {name: _entries(files, name) for name in TABLES}
        self.budgets = _entries(_entries(files, "budgets"), "profiles")
        self.vocabulary = Vocabulary.model_validate(files["vocabulary"])

    def effect(self, tool: str) -> ToolEffect:
        said = self.tables["tools"][tool].get("effect")
        return next((effect for effect in GRAVITY if effect == said), "execute")

    def opening(self, tool: str) -> str:
        """Return the smallest capability that opens a tool, or nothing."""
        sizes = {
            name: len(tools)
            for name, entry in self.tables["capabilities"].items()
            if isinstance(tools := entry.get("tools"), list) and tool in tools
        }
        return min(sizes, key=lambda name: (sizes[name], name), default="")

    def free_capability(self, wanted: str) -> str:
        names = (wanted if number == 1 else f"{wanted}.{number}" for number in count(1))
        return next(name for name in names if name not in self.tables["capabilities"])

    def budget(self, calls: int, changes: int) -> str:
        """Return the smallest budget that holds a session, `default` where that does, or nothing."""
        fitting = {
            name: _number(entry, "session_calls")
            for name, entry in self.budgets.items()
            if _number(entry, "session_calls") >= calls and _number(entry, "session_changes") >= changes
        }
        return min(fitting, key=lambda name: (name != "default", fitting[name], name), default="")


@dataclass(slots=True)
class _Draft:
    """The entries as they come together, each table before those that point into it."""

    policy: _Policy
    said: Said
    described: Mapping[str, Entry]
    seen: Sightings
    added: list[NewEntry] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)

    def fill(self) -> None:
        tools = sorted({*self.seen.tools(), *self.described})
        for server in sorted({tool.partition("/")[0] for tool in tools}):
            self._server(server, [tool for tool in tools if tool.startswith(f"{server}/")])
        for tool in tools:
            if tool not in self.policy.tables["tools"]:
                self._tool(tool)
            elif self.described.get(tool, self.policy.tables["tools"][tool]) != self.policy.tables["tools"][tool]:
                self.by_hand.append(f"tools.yaml: {tool}: it stands there already, and differs from your table")
        opened = self._opened(self.seen.tools())
        for agent in sorted(self.seen.calls):
            self._agent(agent, opened)

    def _add(self, table: Table, key: str, fields: Entry, remarks: Mapping[str, str]) -> None:
        self.policy.tables[table][key] = fields
        self.added.append(NewEntry(table, key, fields, remarks))

    def _server(self, server: str, tools: Sequence[str]) -> None:
        environments = self.seen.environments(server=server) or self.seen.environments()
        known = self.policy.tables["servers"].get(server)
        if known is None:
            fields: dict[str, JsonValue] = {
                "description": f"Tools of {server}.",
                "owner": self.said.owner,
                "environments": list(environments),
                "tools": "catalogued",
            }
            self._add("servers", server, fields, {"owner": self._owner_remark()})
            return
        self._lacking("servers", server, environments)
        listed = known.get("tools")
        if isinstance(listed, list):
            names = [tool.partition("/")[2] for tool in tools]
            self.by_hand += [f"servers.yaml: {server}: list the tool {name}" for name in names if name not in listed]

    def _lacking(self, table: Table, key: str, environments: Iterable[str]) -> None:
        held = self.policy.tables[table][key].get("environments")
        missing = [name for name in environments if not isinstance(held, list) or name not in held]
        self.by_hand += [f"{table}.yaml: {key}: add the environment {name}" for name in missing]

    def _tool(self, tool: str) -> None:
        arguments = list(self.seen.arguments.get(tool, ()))
        seen = {"": f"called with {', '.join(arguments[:_SHOWN_ARGUMENTS])}"} if arguments else {}
        if tool in self.described:
            self._add("tools", tool, self.described[tool], seen)
            return
        guess = guess_effect(tool.partition("/")[2], arguments, self.policy.vocabulary)
        fields: dict[str, JsonValue] = {
            "description": _words(tool),
            "effect": guess.effect,
            "reach": "external",
            "result_trust": "unverified",
        }
        if self.said.systems == "own":
            fields["reach"] = guess_reach(tool.partition("/")[2], arguments, guess.effect)
        remarks = {
            **seen,
            "effect": f"guessed from {guess.because}: check" if guess.because else _UNKNOWN_EFFECT,
            "reach": "not known, so the worst: check" if self.said.systems == "unknown" else "guessed: check",
            "result_trust": "not known, so the worst: who can put words into its results?",
        }
        self._add("tools", tool, fields, remarks)

    def _opened(self, called: Sequence[str]) -> dict[str, str]:
        """Return the capability that opens each called tool, adding what is missing: one a server and effect."""
        opened = {tool: found for tool in called if (found := self.policy.opening(tool))}
        groups: dict[tuple[str, ToolEffect], list[JsonValue]] = {}
        for tool in called:
            if tool not in opened:
                groups.setdefault((tool.partition("/")[0], self.policy.effect(tool)), []).append(tool)
        for (server, effect), tools in groups.items():
            name = self.policy.free_capability(f"{server}.{effect}")
            fields: dict[str, JsonValue] = {
                "description": f"{_DOES[effect]} {server}.",
                "owner": self.said.owner,
                "risk": _RISKS.get(effect, "high"),
                "tools": tools,
            }
            self._add("capabilities", name, fields, {"owner": self._owner_remark()})
            opened.update((str(tool), name) for tool in tools)
        return opened

    def _agent(self, agent: str, opened: Mapping[str, str]) -> None:
        needed = sorted({opened[tool] for tool in self.seen.calls[agent]})
        if agent in self.policy.tables["agents"]:
            self._known_agent(agent, needed)
            return
        fields: dict[str, JsonValue] = {
            "owner": self.said.owner,
            "contact": self.said.owner,
            "framework": "unknown",
            "environments": list(self.seen.environments(agent=agent)),
            **self._budget(agent)[0],
            "capabilities": {name: {"granted_by": self.said.owner} for name in needed},
        }
        remarks = {
            "owner": self._owner_remark(),
            "contact": "where is that team reached?",
            "framework": "for people, nothing depends on it",
            "budget": self._budget(agent)[1],
            "capabilities": "all that its traces call: take away what it should not do",
        }
        self._add("agents", agent, fields, remarks)

    def _known_agent(self, agent: str, needed: Sequence[str]) -> None:
        self._lacking("agents", agent, self.seen.environments(agent=agent))
        new = {entry.key for entry in self.added if entry.table == "capabilities"}
        grants = [name for name in needed if name in new]
        self.by_hand += [f"agents.yaml: {agent}: grant the capability {name} if it should have it" for name in grants]

    def _budget(self, agent: str) -> tuple[Entry, str]:
        """Return the budget that holds each of the agent's recorded sessions, unless the default does."""
        sessions = self.seen.sessions[agent]
        calls = max(session.total() for session in sessions)
        changes = max(
            sum(times for tool, times in session.items() if self.policy.effect(tool) != "read") for session in sessions
        )
        found = self.policy.budget(calls, changes)
        longest = f"a recorded session has {calls} calls and {changes} changes"
        if found == "default":
            return {}, ""
        if not found:
            return {"budget": "default"}, f"too small, {longest}: check"
        return {"budget": found}, f"{longest}: check"

    def _owner_remark(self) -> str:
        return "who answers for it? check" if self.said.owner == UNASSIGNED else ""


def _number(entry: Entry, name: str) -> int:
    value = entry.get(name)
    return value if isinstance(value, int) else 0
