"""What traces are narrowed by beside plain words: how a number compares, how far trust reaches, how a name begins.

A match says what is meant, never how it is looked for: ``words_of`` and ``prefix_range`` give a store what it needs to
find it by an index, ``WordMatch.fits`` and ``NumberMatch.fits`` tell it of one trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from aisecops_server.domain.log.trace_figures import EFFECTS
from aisecops_server.domain.plans.provenance import TrustLevel

# The numbers of a trace: its plans, the nanoseconds from its first decision to its last, the steps of its plans, and
# what these were charged: tokens, millionths of a US dollar, and the fullest budget in hundredths of a percent.
PLANS = "plans"
LASTED = "lasted"
STEPS = "steps"
TOKENS = "tokens"
COST = "cost"
BUDGET = "budget"
NUMBERS = (PLANS, LASTED, STEPS, TOKENS, COST, BUDGET)

EFFECT = "effect"
# One word for every effect but reading.
CHANGING = "changing"

_LAST_CHARACTER = chr(0x10FFFF)
# Between these no character stands.
_BEFORE_SURROGATES, _BEHIND_SURROGATES = chr(0xD7FF), chr(0xE000)


class Relation(StrEnum):
    """How what a trace has stands to what is asked for. Of trust, less is what deserves less of it."""

    EQUAL = "="
    BEGINS = "*"
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="


_WANTED_SIGNS: Mapping[Relation, tuple[int, ...]] = {
    Relation.EQUAL: (0,),
    Relation.LESS: (-1,),
    Relation.AT_MOST: (-1, 0),
    Relation.MORE: (1,),
    Relation.AT_LEAST: (0, 1),
}


@dataclass(frozen=True, slots=True)
class WordMatch:
    """A name that begins with ``word``, trust that compares with it, or an effect.

    ``field`` is one of ``TraceFilter``'s, or the effect.
    """

    field: str
    relation: Relation
    word: str
    leaves_out: bool = False

    def fits(self, values: Iterable[str]) -> bool:
        """Return whether what a trace has in the field is as asked; what is to be left out does not fit."""
        if self.relation is Relation.BEGINS:
            found = any(value.startswith(self.word) for value in values)
        else:
            found = not set(words_of(self)).isdisjoint(values)
        return found != self.leaves_out


@dataclass(frozen=True, slots=True)
class NumberMatch:
    """A number of a trace that compares with ``amount``; ``field`` is one of ``NUMBERS``."""

    field: str
    relation: Relation
    amount: int
    leaves_out: bool = False

    def fits(self, amount: int) -> bool:
        """Return whether the number of a trace is as asked."""
        return (_sign(amount, self.amount) in _WANTED_SIGNS[self.relation]) != self.leaves_out


def words_of(match: WordMatch) -> tuple[str, ...]:
    """Return the effects or the levels of trust that a match stands for; nothing for any other match."""
    if match.field == EFFECT:
        return EFFECTS[1:] if match.word == CHANGING else (match.word,)
    if match.field != "trust" or match.relation is Relation.BEGINS:
        return ()
    than, wanted = TrustLevel(match.word).rank, _WANTED_SIGNS[match.relation]
    return tuple(level.value for level in TrustLevel if _sign(than, level.rank) in wanted)


def prefix_range(prefix: str) -> tuple[str, str]:
    """Return the first text that begins with ``prefix`` and the first behind all that do, empty where there is none.

    In the order of code points, which is that of their bytes in UTF-8.
    """
    kept = prefix.rstrip(_LAST_CHARACTER)
    if not kept:
        return prefix, ""
    last = kept[-1]
    following = _BEHIND_SURROGATES if last == _BEFORE_SURROGATES else chr(ord(last) + 1)
    return prefix, kept[:-1] + following


def _sign(one: int, other: int) -> int:
    return (one > other) - (one < other)
