"""Words that the document can never hold: a comparison with one is never true, and the engine says nothing of it.

The schemas of documents list the words of some fields. Looked at are comparisons with a constant of ``input.…`` and of
a variable that ``some x in input.…`` bound; everything else is left alone, so that nothing is complained of wrongly.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_check import Problem
from aisecops_server.domain.policy.rego_syntax import Module, at, line_of, mapping, nodes, path_of, sequence

_COMPARISONS = frozenset({"equal", "eq", "neq"})
_MEMBER = "internal.member_2"
_MOST_DEPTH = 12
_Path = tuple[str, ...]


def misspelt_words(module: Module, schemas: Mapping[str, JsonValue]) -> Iterator[Problem]:
    """Yield comparisons with a word that none of the schemas' enumerations has."""
    for rule in module.rules:
        bound = dict(_bound(rule))
        for node in nodes(rule):
            for path, word in _compared(node, bound):
                known = _words(path, schemas)
                if known and word not in known:
                    yield _told(module, node, ".".join(path), word=word, known=known)


def _told(module: Module, node: JsonValue, path: str, *, word: str, known: frozenset[str]) -> Problem:
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return Problem(
        "lint.word",
        f"{path} is never '{word}'",
        hint=f"{hint}It is one of {', '.join(sorted(filter(None, known)))}",
        path=module.path,
        line=line_of(node) or module.package_line,
        subject=module.path,
    )


def _bound(rule: JsonValue) -> Iterator[tuple[str, _Path]]:
    """Yield each variable that takes the members of a part of the document, with that part."""
    for node in nodes(rule):
        symbols = node.get("symbols")
        for symbol in sequence(symbols):
            terms = sequence(at(symbol, "value"))
            member = at(terms[0], "value") if terms else None
            names = ".".join(str(mapping(part).get("value")) for part in sequence(member))
            if names == _MEMBER and len(terms) == 3:  # noqa: PLR2004 - operator, variable, collection
                path = path_of(mapping(terms[2]))
                if path[:1] == ("input",) and mapping(terms[1]).get("type") == "var":
                    yield str(mapping(terms[1]).get("value")), (*path, "*")


def _compared(node: Mapping[str, JsonValue], bound: Mapping[str, _Path]) -> Iterator[tuple[_Path, str]]:
    terms = sequence(node.get("terms"))
    if len(terms) != 3 or ".".join(path_of(mapping(terms[0]))) not in _COMPARISONS:  # noqa: PLR2004 - operator, two sides
        return
    for one, other in ((terms[1], terms[2]), (terms[2], terms[1])):
        left, right = mapping(one), mapping(other)
        if left.get("type") == "ref" and right.get("type") == "string":
            path = path_of(left)
            path = (*bound[path[0]], *path[1:]) if path[0] in bound else path
            if path[0] == "input":
                yield path, str(right.get("value"))


def _words(path: _Path, schemas: Mapping[str, JsonValue]) -> frozenset[str]:
    """Return the words that a field may hold, of all schemas that have it; none when one of them lets it hold any."""
    found: set[str] = set()
    for schema in schemas.values():
        part = _part(schema, path[1:])
        if part is None:
            continue
        words = part.get("enum", [part["const"]] if "const" in part else None)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            return frozenset()
        found.update(map(str, words))
    return frozenset(found)


def _part(schema: JsonValue, path: _Path) -> Mapping[str, JsonValue] | None:
    part = _resolved(mapping(schema), schema)
    for key in path[:_MOST_DEPTH]:
        properties = mapping(part.get("properties"))
        inner = part.get("items") if key == "*" else properties.get(key)
        if not isinstance(inner, dict):
            return None
        part = _resolved(inner, schema)
    return part


def _resolved(part: Mapping[str, JsonValue], schema: JsonValue) -> Mapping[str, JsonValue]:
    name = part.get("$ref")
    return mapping(at(schema, "$defs", str(name).rpartition("/")[2])) if name else part
