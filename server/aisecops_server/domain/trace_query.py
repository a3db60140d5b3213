"""The language in which people narrow traces: ``outcome:blocked agent:spiffe://corp.example/agent/x rule:a.b``.

Its fields are those of the list of traces, in words that people read; every field may stand once. What cannot be
read is refused with the very word, so that a filter is never wider than its author believes.
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
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Term:
    """One field with its value, as it was written."""

    field: str
    value: str

    def written(self) -> str:
        """Return the term as it is written in a query."""
        return f"{self.field}:{shlex.quote(self.value)}"


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """A query that was read."""

    terms: tuple[Term, ...] = ()

    @property
    def narrow(self) -> TraceFilter:
        """Return the filter that it stands for."""
        narrow = TraceFilter()
        for term in self.terms:
            narrow = _FIELDS[term.field](narrow, term.value)
        return narrow

    def value(self, field: str) -> str:
        """Return the value of a field, or an empty string."""
        return next((term.value for term in self.terms if term.field == field), "")

    def with_term(self, field: str, value: str) -> TraceQuery:
        """Return the query with ``field`` narrowed to ``value``; an empty value drops the field."""
        kept = tuple(term for term in self.terms if term.field != field)
        return TraceQuery((*kept, Term(field, value)) if value else kept)

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
        field, separator, value = word.partition(":")
        if not separator or field not in _FIELDS:
            raise _wrong(f"'{word}' is no field with a value")
        if not value:
            raise _wrong(f"'{word}' has no value")
        if any(term.field == field for term in terms):
            raise _wrong(f"'{field}' stands twice")
        _FIELDS[field](TraceFilter(), value)
        terms.append(Term(field, value))
    return TraceQuery(tuple(terms))


def _wrong(message: str) -> InvalidRequestError:
    return InvalidRequestError(
        message, hint=f"Write terms such as outcome:blocked; fields are {', '.join(_FIELDS)}", field="q"
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
