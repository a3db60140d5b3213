"""The language in which people narrow traces: ``outcome:blocked agent:spiffe://corp.example/agent/x rule:a.b``.

Its fields are those of the list of traces, in words that people read; every field may stand once. With a ``-`` before
it a term leaves out what it would match, and of these there may be several. What cannot be read is refused with the
very word, so that a filter is never wider than its author believes.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.record import TraceFilter

OUTCOMES: Mapping[str, str] = {"allowed": "ALLOW", "blocked": "DENY", "escalated": "REQUIRE_APPROVAL"}
MODES: Mapping[str, str] = {"enforce": "ENFORCE", "dry-run": "DRY_RUN"}
TRUSTS = ("trusted", "internal", "external", "unverified")
LONGEST = 1000
MOST_LEFT_OUT = 16
_NOT = "-"
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Term:
    """One field with its value, as it was written; ``leaves_out`` where what it would match is not wanted."""

    field: str
    value: str
    leaves_out: bool = False

    def written(self) -> str:
        """Return the term as it is written in a query."""
        return f"{_NOT if self.leaves_out else ''}{self.field}:{shlex.quote(self.value)}"


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """A query that was read."""

    terms: tuple[Term, ...] = ()

    @property
    def narrow(self) -> TraceFilter:
        """Return the filter that it stands for."""
        narrow = TraceFilter()
        for term in self.terms:
            if not term.leaves_out:
                narrow = _FIELDS[term.field](narrow, term.value)
        return replace(narrow, without=tuple(_left_out(term) for term in self.terms if term.leaves_out))

    def value(self, field: str) -> str:
        """Return the value of a field, or an empty string."""
        return next((term.value for term in self.terms if term.field == field and not term.leaves_out), "")

    def with_term(self, field: str, value: str) -> TraceQuery:
        """Return the query with ``field`` narrowed to ``value``; an empty value drops the field."""
        kept = tuple(term for term in self.terms if term.field != field or (term.leaves_out and term.value != value))
        return TraceQuery((*kept, Term(field, value)) if value else kept)

    def leaving_out(self, field: str, value: str) -> TraceQuery:
        """Return the query without what has ``value`` in ``field``; that it wanted just that is forgotten."""
        kept = self.without(Term(field, value)).without(Term(field, value, leaves_out=True))
        return TraceQuery((*kept.terms, Term(field, value, leaves_out=True)))

    def without(self, term: Term) -> TraceQuery:
        """Return the query without a term of it."""
        return TraceQuery(tuple(one for one in self.terms if one != term))

    def written(self) -> str:
        """Return the query as it is written."""
        return " ".join(term.written() for term in self.terms)


def read_query(text: str) -> TraceQuery:
    """Return the query that ``text`` is.

    Raises:
        InvalidRequestError: a word of it is no field with a value; the message names the word.
    """
    if len(text) > LONGEST:
        raise _wrong(f"the query has more than {LONGEST} characters")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _wrong("a quotation in the query does not end") from error
    terms: list[Term] = []
    for word in words:
        left_out = word.startswith(_NOT)
        field, separator, value = word.removeprefix(_NOT).partition(":")
        if not separator or field not in _FIELDS:
            raise _wrong(f"'{word}' is no field with a value")
        if not value:
            raise _wrong(f"'{word}' has no value")
        if not left_out and any(term.field == field and not term.leaves_out for term in terms):
            raise _wrong(f"'{field}' stands twice")
        if left_out and field not in _NAMES:
            raise _wrong(f"'{word}': a time cannot be left out")
        _FIELDS[field](TraceFilter(), value)
        terms.append(Term(field, value, left_out))
    if sum(term.leaves_out for term in terms) > MOST_LEFT_OUT:
        raise _wrong(f"more than {MOST_LEFT_OUT} terms leave something out")
    return TraceQuery(tuple(terms))


def _left_out(term: Term) -> tuple[str, str]:
    name = _NAMES[term.field]
    return name, str(getattr(_FIELDS[term.field](TraceFilter(), term.value), name))


def _wrong(message: str) -> InvalidRequestError:
    return InvalidRequestError(
        message, hint=f"Write terms such as outcome:blocked or -tool:a/b; fields are {', '.join(_FIELDS)}", field="q"
    )


def _word(field: str, value: str, words: Mapping[str, str]) -> str:
    if value not in words:
        raise _wrong(f"'{field}:{value}': {field} is one of {', '.join(words)}")
    return words[value]


def _moment(field: str, value: str) -> int:
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise _wrong(f"'{field}:{value}' is no time such as 2026-01-31 or 2026-01-31T08:00") from error
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()) * _NS


_FIELDS: Mapping[str, Callable[[TraceFilter, str], TraceFilter]] = {
    "agent": lambda narrow, value: replace(narrow, agent_id=value),
    "outcome": lambda narrow, value: replace(narrow, outcome=_word("outcome", value, OUTCOMES)),
    "tool": lambda narrow, value: replace(narrow, tool=value),
    "rule": lambda narrow, value: replace(narrow, rule=value),
    "trust": lambda narrow, value: replace(narrow, trust=_word("trust", value, {word: word for word in TRUSTS})),
    "revision": lambda narrow, value: replace(narrow, revision=value),
    "mode": lambda narrow, value: replace(narrow, mode=_word("mode", value, MODES)),
    "from": lambda narrow, value: replace(narrow, from_ns=_moment("from", value)),
    "to": lambda narrow, value: replace(narrow, to_ns=_moment("to", value)),
}
FIELDS = tuple(_FIELDS)
# Those that can be left out, with what they are called in a filter.
_NAMES: Mapping[str, str] = {
    field: {"agent": "agent_id"}.get(field, field) for field in _FIELDS if field not in ("from", "to")
}
