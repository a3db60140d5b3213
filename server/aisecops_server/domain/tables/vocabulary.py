"""How people ask for actions, as a table that policy owns, and what a tool's name says that it does."""

from __future__ import annotations

from typing import Annotated, Literal

import re2
from pydantic import BaseModel, ConfigDict, Field, model_validator

from aisecops_server.domain.formats.canonical import JsonValue

ArgumentRole = Literal["destination", "object", "content", "amount", "query", "command", "setting"]
ChangingEffect = Literal["write", "delete", "send", "spend", "execute"]
Word = Annotated[str, Field(pattern=r"^[^\s_A-Z]+$")]
# Words may be grouped in rows, which keeps long lists readable.
Words = list[Word | list[Word]]

_PARTICLES = frozenset(
    {"a", "all", "an", "and", "at", "by", "for", "from", "in", "into", "of", "on", "or", "the", "to", "with"}
)
_NOUNS_TOO = frozenset({"email", "mail", "message", "post", "comment", "draft", "invoice", "transaction", "payment"})
SHORTEST_PLURAL = 3
_GRAVE = frozenset({"delete", "spend", "execute"})
_HUMP = re2.compile(r"([a-z0-9])([A-Z])")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Action(_Part):
    """The words for one thing that can be asked for."""

    tools: Words = Field(min_length=1)
    people: Words = Field(default_factory=list)

    def tool_words(self) -> list[str]:
        """Return the words in tools' names that say the action."""
        return _flat(self.tools)


class Delegation(_Part):
    """What a person says who lets a text say what is to be done."""

    verbs: Words
    nouns: Words


class Vocabulary(_Part):
    """The words by which people ask for things."""

    actions: dict[str, Action] = Field(min_length=1)
    effects: dict[ChangingEffect, list[str]]
    delegation: Delegation
    arguments: dict[ArgumentRole, Words]

    @model_validator(mode="after")
    def _is_whole(self) -> Vocabulary:
        missing = {"write", "delete", "send", "spend", "execute"} - self.effects.keys()
        if missing:
            raise ValueError(f"no actions for {', '.join(sorted(missing))}")
        if not self.actions.keys().isdisjoint({"delegating", "delegated"}):
            raise ValueError("an action may not be called 'delegating' or 'delegated'")
        unknown = {action for actions in self.effects.values() for action in actions} - self.actions.keys()
        if unknown:
            raise ValueError(f"'{min(unknown)}' is not one of the actions")
        return self

    def actions_of(self, tool: str, effect: str) -> list[str]:
        """Return the actions that a tool's name says, or those of its effect if the name says none.

        What deletes, spends or executes must be asked for as such, whatever else its name says.
        """
        named = set(name_words(tool.partition("/")[2]))
        said = sorted(name for name, action in self.actions.items() if not named.isdisjoint(_flat(action.tools)))
        meant = [action for name, actions in self.effects.items() if name == effect for action in actions]
        if effect in _GRAVE and not set(said).isdisjoint(meant):
            return [action for action in said if action in meant]
        return said or meant

    def concerns_of(self, tool: str) -> list[str]:
        """Return the words of a tool's name that say what it concerns, in singular and plural."""
        verbs = {word for action in self.actions.values() for word in _flat(action.tools)}
        nouns = [word for word in name_words(tool.partition("/")[2]) if word not in verbs - _NOUNS_TOO]
        return sorted(
            {
                form
                for noun in nouns
                if noun not in _PARTICLES
                for form in (noun, _singular(noun), f"{_singular(noun)}s")
            }
        )

    def argument_words(self, role: ArgumentRole) -> frozenset[str]:
        """Return the words that end the names of arguments of a role."""
        return frozenset(_flat(self.arguments.get(role, [])))

    def compiled(self) -> dict[str, JsonValue]:
        """Return the table keyed by word; the words of delegation are kept among those of actions."""
        asked: dict[str, dict[str, JsonValue]] = {}
        for name, action in self.actions.items():
            for word in _flat(action.tools) + _flat(action.people):
                asked.setdefault(word, {})[name] = True
        for tag, said in (("delegating", self.delegation.verbs), ("delegated", self.delegation.nouns)):
            for word in _flat(said):
                asked.setdefault(word, {})[tag] = True
        return {
            "actions": asked,
            "arguments": {word: role for role, words in self.arguments.items() for word in _flat(words)},
        }


def name_words(name: str) -> list[str]:
    """Return the words of a programmer's name: `sendMail`, `send_mail` and `send-mail` have the same two."""
    parted = _HUMP.sub(r"\1 \2", name)
    return "".join(character if character.isalnum() else " " for character in parted).lower().split()


def _singular(noun: str) -> str:
    return noun.removesuffix("s") if len(noun) > SHORTEST_PLURAL else noun


def _flat(words: Words) -> list[str]:
    return [word for row in words for word in (row if isinstance(row, list) else [row])]
