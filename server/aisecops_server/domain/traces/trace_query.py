r"""The language in which people narrow traces: ``outcome:blocked tool:crm/* trust:<internal plans:>3 -rule:a.b``.

Its fields are those of the list of traces, in words that people read; every field may stand once, a number with a
bound on each side. A ``*`` at the end of a name stands for whatever follows; ``\*`` is the sign itself. With a ``-``
before it a term leaves out what it would match, and of these there may be several. What cannot be read is refused with
the very word and with what to write instead, so that a filter is never wider than its author believes.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.log.record import TraceFilter
from aisecops_server.domain.log.trace_figures import EFFECTS as SINGLE_EFFECTS
from aisecops_server.domain.log.trace_match import (
    BUDGET,
    CHANGING,
    COST,
    EFFECT,
    LASTED,
    NUMBERS,
    PLANS,
    STEPS,
    TOKENS,
    NumberMatch,
    Relation,
    WordMatch,
)

OUTCOMES: Mapping[str, str] = {"allowed": "ALLOW", "blocked": "DENY", "escalated": "REQUIRE_APPROVAL"}
MODES: Mapping[str, str] = {"enforce": "ENFORCE", "dry-run": "DRY_RUN"}
TRUSTS = ("trusted", "internal", "external", "unverified")
EFFECTS = (*SINGLE_EFFECTS, CHANGING)
LONGEST = 1000
MOST_TERMS = 32
MOST_LEFT_OUT = 16
_LONGEST_WORD = 256
_NOT = "-"
_NS = 1_000_000_000
_MOST = 2**63 - 1
# The last whole second that nanoseconds of 63 bits reach, in the year 2262; every later one is as late.
LATEST_NS = _MOST // _NS * _NS
_NAMED = ("agent", "tool", "rule", "revision")
_TIMES = ("from", "to")
_BACKSLASH = "\\"
_STAR = re.compile(r"(\\*)\*")
_SIGN = re.compile(r"<=|>=|<|>|")
_NUMBER = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)([a-z%]*)", re.ASCII)
_UNITS: Mapping[str, Mapping[str, int]] = {
    PLANS: {"": 1},
    LASTED: {"": _NS, "ms": _NS // 1000, "s": _NS, "m": 60 * _NS, "h": 3600 * _NS},
    STEPS: {"": 1},
    TOKENS: {"": 1, "k": 1000, "m": 1_000_000},
    COST: {"": 1_000_000},
    BUDGET: {"%": 100},
}
_WHOLE: Mapping[str, str] = {LASTED: "s", BUDGET: "%"}
_EXAMPLES: Mapping[str, str] = {
    "agent": "agent:spiffe://corp.example/*",
    "tool": "tool:crm/*",
    "rule": "rule:provenance.*",
    "revision": "revision:3f2a*",
    PLANS: "plans:>3, plans:<=10 or plans:1",
    LASTED: "lasted:>90s, lasted:<=5m or lasted:>1h",
    STEPS: "steps:>20, steps:<=3 or steps:1",
    TOKENS: "tokens:>5000 or tokens:>1m",
    COST: "cost:>0.5 or cost:<=2, in US dollars",
    BUDGET: "budget:>80%",
}


@dataclass(frozen=True, slots=True)
class Term:
    """One field with what is asked of it; ``leaves_out`` where what it would match is not wanted.

    ``value`` is the word itself, the beginning of a name, or a number as it was written.
    """

    field: str
    value: str
    leaves_out: bool = False
    relation: Relation = Relation.EQUAL

    def written(self) -> str:
        """Return the term as it is written in a query."""
        before = f"{_NOT if self.leaves_out else ''}{self.field}:"
        value = self.value
        if self.field in _NAMED:
            value = _STAR.sub(lambda found: f"{found[1]}{found[1]}\\*", value)
        if self.relation is Relation.BEGINS:
            backslashes = len(value) - len(value.rstrip(_BACKSLASH))
            return f"{before}{_quoted(value + _BACKSLASH * backslashes)}*"
        # Neither sign nor star is quoted, as people write them.
        return before + (_quoted(value) if self.relation is Relation.EQUAL else f"{self.relation}{value}")


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """A query that was read."""

    terms: tuple[Term, ...] = ()

    @property
    def narrow(self) -> TraceFilter:
        """Return the filter that it stands for."""
        narrow = TraceFilter()
        for term in self.terms:
            narrow = _narrowed(narrow, term)
        return narrow

    @property
    def compared(self) -> TraceQuery:
        """Return the query of those terms that ask for more than a word: a beginning, a comparison, a number."""
        return TraceQuery(tuple(term for term in self.terms if not _is_plain(term)))

    @property
    def wanted(self) -> TraceQuery:
        """Return the query of those terms that ask for a word or a time."""
        return TraceQuery(tuple(term for term in self.terms if _is_plain(term) and not term.leaves_out))

    @property
    def beyond(self) -> TraceQuery:
        """Return the query of what ``wanted`` does not have."""
        return TraceQuery(tuple(term for term in self.terms if not _is_plain(term) or term.leaves_out))

    def value(self, field: str) -> str:
        """Return the very word that is wanted of a field, or an empty string."""
        wanted = (term for term in self.terms if term.field == field and not term.leaves_out)
        return next((term.value for term in wanted if term.relation is Relation.EQUAL), "")

    def asks(self, field: str) -> bool:
        """Return whether a term wants something of a field."""
        return any(term.field == field and not term.leaves_out for term in self.terms)

    def with_term(self, field: str, value: str) -> TraceQuery:
        """Return the query with ``field`` narrowed to ``value``; an empty value drops the field."""
        kept = tuple(term for term in self.terms if term.field != field or (term.leaves_out and term.value != value))
        return TraceQuery((*kept, Term(field, value)) if value else kept)

    def leaving_out(self, field: str, value: str) -> TraceQuery:
        """Return the query without what has ``value`` in ``field``; that it wanted just that is forgotten."""
        kept = self.without(Term(field, value)).without(Term(field, value, leaves_out=True))
        return TraceQuery((*kept.terms, Term(field, value, leaves_out=True)))

    def toggled(self, term: Term) -> TraceQuery:
        """Return the query without ``term`` where it has it, else with it in place of what it wants of that field."""
        if term in self.terms:
            return self.without(term)
        return TraceQuery((*(one for one in self.terms if one.field != term.field or one.leaves_out), term))

    def turned(self, term: Term) -> TraceQuery:
        """Return the query in which a term of it says the contrary; what else is wanted of its field is forgotten."""
        kept = self.without(term)
        if term.leaves_out:
            kept = TraceQuery(tuple(one for one in kept.terms if one.field != term.field or one.leaves_out))
        return TraceQuery((*kept.terms, replace(term, leaves_out=not term.leaves_out)))

    def without(self, term: Term) -> TraceQuery:
        """Return the query without a term of it."""
        return TraceQuery(tuple(one for one in self.terms if one != term))

    def written(self) -> str:
        """Return the query as it is written."""
        return " ".join(term.written() for term in self.terms)


def read_query(text: str, *, place: str = "q") -> TraceQuery:
    """Return the query that ``text`` is; ``place`` is what it came in.

    Raises:
        InvalidRequestError: a word of it is no field with a value; the message names the word.
    """
    try:
        return _read(text)
    except _WrongError as wrong:
        hint = wrong.instead or f"Write terms such as outcome:blocked or -tool:a/b; fields are {', '.join(FIELDS)}"
        raise InvalidRequestError(wrong.what, hint=hint, field=place) from wrong


def of_decisions(query: TraceQuery) -> TraceQuery:
    """Return a query that is asked of decisions, which have no numbers.

    Raises:
        InvalidRequestError: a term of it asks for one.
    """
    for term in query.terms:
        if term.field in NUMBERS:
            raise InvalidRequestError(
                f"'{term.written()}' is asked of traces, and a replay chooses decisions",
                hint="Take it out, or name the traces that 'aisecops trace list' finds",
                field="query",
            )
    return query


def written_matches(narrow: TraceFilter) -> list[str]:
    """Return what a filter asks for beside words, term by term as it is written."""
    words = [Term(_shown(one.field), one.word, one.leaves_out, one.relation).written() for one in narrow.words]
    for one in narrow.numbers:
        unit = _WHOLE.get(one.field, "")
        amount = Decimal(one.amount) / _UNITS[one.field][unit]
        words.append(Term(one.field, f"{amount:f}{unit}", one.leaves_out, one.relation).written())
    return words


def can_be_turned(term: Term) -> bool:
    """Return whether the contrary of a term can be asked for: of a time it cannot."""
    return term.field not in _TIMES


class _WrongError(Exception):
    """A word that cannot be read: what is wrong with it, and what to write instead."""

    def __init__(self, what: str, instead: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.instead = instead


def _read(text: str) -> TraceQuery:
    if len(text) > LONGEST:
        raise _WrongError(f"the query has more than {LONGEST} characters", "Leave terms out of it")
    if "\0" in text:
        raise _WrongError("the query holds a character that no name has", "Take U+0000 out of it")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _WrongError("a quotation in the query does not end", "Write tool:'a b', or quote no sign") from error
    if len(words) > MOST_TERMS:
        raise _WrongError(f"the query has more than {MOST_TERMS} terms", "Leave terms out of it")
    terms: list[Term] = []
    for word in words:
        term = _term(word)
        if not term.leaves_out and (twice := _stands_twice(term, terms)):
            raise _WrongError(twice, "Keep one of the two")
        terms.append(term)
    if sum(term.leaves_out for term in terms) > MOST_LEFT_OUT:
        raise _WrongError(f"more than {MOST_LEFT_OUT} terms leave something out", "A * leaves out all that begin alike")
    return TraceQuery(tuple(terms))


def _term(word: str) -> Term:
    left_out = word.startswith(_NOT)
    field, separator, value = word.removeprefix(_NOT).partition(":")
    if not separator or field not in FIELDS:
        raise _no_field(word, field, value if separator else "")
    if not value:
        raise _WrongError(f"'{word}' has no value", f"Write {_example(field)}")
    if left_out and field in _TIMES:
        raise _WrongError(f"'{word}': a time cannot be left out", "Write from:2026-01-31 or to:2026-01-31")
    return replace(_READERS[field](field, value), leaves_out=left_out)


def _no_field(word: str, field: str, value: str) -> _WrongError:
    """Return the error of a word that is no field with a value, with the term that it may have been meant to be."""
    fixed = {**dict.fromkeys(OUTCOMES, "outcome"), **dict.fromkeys(MODES, "mode"), **dict.fromkeys(TRUSTS, "trust")}
    fixed |= dict.fromkeys(EFFECTS, EFFECT)
    bare = word.removeprefix(_NOT)
    close = difflib.get_close_matches(field, FIELDS, n=1)
    instead = ""
    if bare in fixed:
        instead = f"Write {fixed[bare]}:{bare}"
    elif close and value:
        instead = f"Write {close[0]}:{value}; fields are {', '.join(FIELDS)}"
    return _WrongError(f"'{word}' is no field with a value", instead)


def _stands_twice(term: Term, terms: list[Term]) -> str:
    """Return what is wrong with a term beside those before it, or an empty string."""
    beside = [one for one in terms if one.field == term.field and not one.leaves_out]
    if not beside:
        return ""
    if term.field in NUMBERS and all(_side(one) * _side(term) < 0 for one in beside):
        return ""
    return f"'{term.field}' stands twice" + (" on the same side" if term.field in NUMBERS else "")


def _side(term: Term) -> int:
    return {Relation.LESS: -1, Relation.AT_MOST: -1, Relation.MORE: 1, Relation.AT_LEAST: 1}.get(term.relation, 0)


def _named(field: str, value: str) -> Term:
    """Read a name, or its beginning: a star that no backslash stands before is one."""
    stars = [found for found in _STAR.finditer(value) if len(found[1]) % 2 == 0]
    begins = bool(stars) and stars[-1].end() == len(value)
    if len(stars) > begins:
        what = f"'{field}:{value}': a * stands only at the end"
        raise _WrongError(what, rf"Write {_example(field)}, or \* for the sign itself")
    if len(value) > _LONGEST_WORD:
        what = f"'{field}:{value[:32]}…' has more than {_LONGEST_WORD} characters"
        raise _WrongError(what, "Write its beginning and *")
    plain = _STAR.sub(lambda found: "\\" * (len(found[1]) // 2) + "*", value)
    return Term(field, plain[:-1], relation=Relation.BEGINS) if begins else Term(field, plain)


def _trust(field: str, value: str) -> Term:
    sign, word = _compared(value)
    if word not in TRUSTS:
        raise _WrongError(
            f"'{field}:{value}': trust is one of {', '.join(TRUSTS)}",
            "Write trust:external, or trust:<internal for less than internal",
        )
    return Term(field, word, relation=sign)


def _number(field: str, value: str) -> Term:
    sign, number = _compared(value)
    _amount(field, number)
    if field == LASTED and sign is Relation.EQUAL:
        raise _WrongError(f"'{field}:{value}' asks for the very nanosecond", f"Write {_EXAMPLES[field]}")
    return Term(field, number, relation=sign)


def _quoted(value: str) -> str:
    return shlex.quote(value) if value else ""


def _compared(value: str) -> tuple[Relation, str]:
    found = _SIGN.match(value)
    sign = found.group() if found else ""
    return Relation(sign or "="), value[len(sign) :]


def _amount(field: str, number: str) -> int:
    found = _NUMBER.fullmatch(number)
    unit = _UNITS[field].get(found[2]) if found else None
    amount = Decimal(found[1]) * unit if found and unit else Decimal("0.5")
    if amount != int(amount):
        raise _WrongError(f"'{field}:{number}' is no number of {_COUNTED[field]}", f"Write {_EXAMPLES[field]}")
    return min(int(amount), _MOST)


def _word(field: str, value: str) -> Term:
    if value not in _WORDS[field]:
        words = ", ".join(_WORDS[field])
        raise _WrongError(f"'{field}:{value}': {field} is one of {words}", f"Write {_example(field)}")
    return Term(field, value)


def _time(field: str, value: str) -> Term:
    moment = _moment(field, value)
    # Nothing is that old: who asks for it would get everything, as who asks for no time.
    if moment < 0 or (field == "to" and moment == 0):
        raise _WrongError(f"'{field}:{value}' is no time since 1970", f"Write {field}:2026-01-31")
    return Term(field, value)


def _moment(field: str, value: str) -> int:
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise _WrongError(
            f"'{field}:{value}' is no time such as 2026-01-31 or 2026-01-31T08:00", f"Write {field}:2026-01-31"
        ) from error
    return min(int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()) * _NS, LATEST_NS)


def _example(field: str) -> str:
    words = _WORDS.get(field)
    return _EXAMPLES.get(field) or f"{field}:{next(iter(words)) if words else '2026-01-31'}"


def _shown(name: str) -> str:
    return "agent" if name == "agent_id" else name


def _is_plain(term: Term) -> bool:
    return term.field not in (*NUMBERS, EFFECT) and term.relation is Relation.EQUAL


def _narrowed(narrow: TraceFilter, term: Term) -> TraceFilter:
    """Return a filter narrowed by one term."""
    if term.field in NUMBERS:
        number = NumberMatch(term.field, term.relation, _amount(term.field, term.value), term.leaves_out)
        return replace(narrow, numbers=(*narrow.numbers, number))
    if term.field in _TIMES:
        at = _moment(term.field, term.value)
        return replace(narrow, from_ns=at) if term.field == "from" else replace(narrow, to_ns=at)
    name = {"agent": "agent_id"}.get(term.field, term.field)
    if term.relation is not Relation.EQUAL or term.field == EFFECT:
        match = WordMatch(name, term.relation, term.value, term.leaves_out)
        return replace(narrow, words=(*narrow.words, match))
    value = _WORDS.get(term.field, {}).get(term.value, term.value)
    if term.leaves_out:
        return replace(narrow, without=(*narrow.without, (name, value)))
    word: dict[str, Any] = {name: value}
    return replace(narrow, **word)


_WORDS: Mapping[str, Mapping[str, str]] = {
    "outcome": OUTCOMES,
    "mode": MODES,
    "trust": {word: word for word in TRUSTS},
    EFFECT: {word: word for word in EFFECTS},
}
_COUNTED: Mapping[str, str] = {
    PLANS: "plans",
    LASTED: "seconds, or of what ms, s, m or h stands behind",
    STEPS: "steps",
    TOKENS: "tokens, or of thousands or millions with k or m behind it",
    COST: "US dollars",
    BUDGET: "percent with its sign",
}
_READERS: Mapping[str, Callable[[str, str], Term]] = {
    "agent": _named,
    "outcome": _word,
    "tool": _named,
    "rule": _named,
    "trust": _trust,
    "revision": _named,
    "mode": _word,
    EFFECT: _word,
    **dict.fromkeys(NUMBERS, _number),
    "from": _time,
    "to": _time,
}
FIELDS = tuple(_READERS)
# Comparisons, for who is to be shown what can be written.
FORMS = (
    "trust:<internal",
    "trust:>=internal",
    "plans:>1",
    "plans:<=10",
    "lasted:>1m",
    "lasted:<=1h",
    "steps:>20",
    "tokens:>10k",
    "cost:>0.5",
    "budget:>80%",
)
