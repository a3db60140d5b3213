"""What a tool probably does, guessed from its name and the names of its arguments, for a person to check.

A guess is a draft of an entry of the tools table and never more: nothing is decided on it until a person has
committed it. Where a name can be read in two ways the graver one is taken, and a name that says nothing gets the
gravest effect. What a name cannot say (who is reached, who puts words into results) is not guessed at all: it is left
at what the tables take for the worst.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.tables.policy_tables import Reach, ToolEffect
from aisecops_server.domain.tables.vocabulary import Vocabulary, name_words

# Least grave first.
GRAVITY: tuple[ToolEffect, ...] = ("read", "write", "send", "delete", "spend", "execute")

# Words whose effect does not follow from the vocabulary's actions, or that a vocabulary may lack.
_MEANT: Mapping[ToolEffect, str] = {
    "read": "get list search read find check fetch view show look lookup query count describe browse retrieve see "
    "inspect preview compare calculate compute convert estimate summarize summarise",
    "write": "download",
    "send": "send post share invite publish notify",
    "delete": "delete remove cancel",
    "spend": "pay transfer buy purchase book booking reserve reservation order refund checkout withdraw",
    "execute": "run exec execute deploy eval invoke shell",
}
# Things that are named like what is done with them: `delete_email` sends nothing, `get_booking` books nothing.
_THINGS = (
    "email mail message post comment draft invoice transaction payment booking reservation order money funds refund "
    "transfer purchase book contact"
)
# Words for what lies outside, in names of tools and of their arguments.
_OUTSIDE = "web website webpage internet online url uri link href host domain webhook browse browser"
_JOINING = frozenset({"and", "or", "then"})
# `check_in` reads nothing.
_ARRIVING = {"check": frozenset({"in", "out"})}


@dataclass(frozen=True, slots=True)
class Guess:
    """An effect and what gave rise to it, which is empty where a name says nothing that is known."""

    effect: ToolEffect
    because: str


def guess_effect(name: str, arguments: Iterable[str], vocabulary: Vocabulary) -> Guess:
    """Return the gravest effect that a tool's name, without its server, and its arguments' names speak of."""
    effects = _effects(vocabulary)
    guesses = [_of_clause(clause, effects) for clause in _clauses(name_words(name))]
    guesses += _of_arguments(arguments, vocabulary)
    gravest = max(guesses, key=lambda guess: GRAVITY.index(guess.effect), default=None)
    return gravest or Guess("execute", "")


def guess_reach(name: str, arguments: Iterable[str], effect: ToolEffect) -> Reach:
    """Return how far a tool of a system of our own reaches: what sends, spends or is given an address may leave it."""
    words = {word for part in (name, *arguments) for word in name_words(part)}
    return "external" if effect in {"send", "spend"} or not words.isdisjoint(_OUTSIDE.split()) else "internal"


def _effects(vocabulary: Vocabulary) -> dict[str, ToolEffect]:
    meant = {word: effect for effect, words in _MEANT.items() for word in words.split()}
    by_action: dict[str, ToolEffect] = {name: effect for effect, names in vocabulary.effects.items() for name in names}
    said: dict[str, ToolEffect] = {}
    for action, entry in vocabulary.actions.items():
        for word in entry.tool_words():
            said[word] = max(said.get(word, "read"), by_action.get(action, "write"), key=GRAVITY.index)
    return {**said, **meant}


def _clauses(words: Sequence[str]) -> list[list[str]]:
    clauses: list[list[str]] = [[]]
    for word in words:
        if word in _JOINING:
            clauses.append([])
        else:
            clauses[-1].append(word)
    return [clause for clause in clauses if clause]


def _of_clause(clause: Sequence[str], effects: Mapping[str, ToolEffect]) -> Guess:
    known = [word for index, word in enumerate(clause) if word in effects and not _arrives(clause, index)]
    if not known:
        # Half of a name that nobody knows is as unknown as a whole one.
        arriving = next((word for index, word in enumerate(clause) if _arrives(clause, index)), "")
        return Guess("write", f"'{arriving}' in its name") if arriving else Guess("execute", "")
    head = next((word for word in known if word not in _THINGS.split()), known[0])
    # What is made or sent may be a payment; what is looked up or removed is only named like one.
    counted = known if effects[head] in {"write", "send"} else [head]
    word = max(counted, key=lambda item: GRAVITY.index(effects[item]))
    return Guess(effects[word], f"'{word}' in its name")


def _arrives(clause: Sequence[str], index: int) -> bool:
    return index + 1 < len(clause) and clause[index + 1] in _ARRIVING.get(clause[index], ())


def _of_arguments(arguments: Iterable[str], vocabulary: Vocabulary) -> list[Guess]:
    commands = vocabulary.argument_words("command")
    return [
        Guess("execute", f"its argument '{argument}'")
        for argument in sorted(arguments)
        if commands.intersection(name_words(argument)[-1:])
    ]
