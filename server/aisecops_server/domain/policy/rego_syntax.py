"""The engine's own parse of Rego, walked: packages, rules, calls, references, and the lines on which they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.formats.canonical import JsonValue


@dataclass(frozen=True, slots=True)
class Module:
    """One Rego file: its path in the repository and what ``opa parse`` says of it."""

    path: str
    syntax: JsonValue

    @property
    def package(self) -> str:
        """Return the package's name with dots, beginning with ``data``."""
        return dotted(at(self.syntax, "package", "path"))

    @property
    def package_line(self) -> int:
        """Return the line on which the package is declared."""
        return line_of(at(self.syntax, "package"))

    @property
    def rules(self) -> Sequence[JsonValue]:
        """Return the clauses, as they stand."""
        return sequence(at(self.syntax, "rules"))

    @property
    def annotations(self) -> Mapping[str, JsonValue]:
        """Return what the METADATA of the package says."""
        for item in sequence(at(self.syntax, "annotations")):
            if mapping(item).get("scope") == "package":
                return mapping(item)
        return {}

    @property
    def is_test(self) -> bool:
        """Return whether it is a file of tests, which no bundle carries."""
        return self.path.endswith("_test.rego")


def rule_name(rule: JsonValue) -> str:
    """Return the name of what a clause defines."""
    return str(at(rule, "head", "name") or dotted(at(rule, "head", "ref")))


def line_of(node: JsonValue) -> int:
    """Return the line of a part, 0 when it has none."""
    row = at(node, "location", "row")
    return row if isinstance(row, int) else 0


def calls(node: Mapping[str, JsonValue]) -> Iterator[str]:
    """Yield the name of what a part calls, if it is a call."""
    terms = node.get("value") if node.get("type") == "call" else node.get("terms")
    if isinstance(terms, list) and terms and mapping(terms[0]).get("type") == "ref":
        yield dotted(mapping(terms[0]).get("value"))


def references(node: Mapping[str, JsonValue]) -> Iterator[tuple[str, ...]]:
    """Yield the parts of a reference, if the part is one; what is not a constant is ``*``."""
    if node.get("type") == "ref":
        yield path_of(node)


def path_of(term: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """Return the parts of a reference: its head, then its keys, ``*`` for each that is not a constant."""
    parts = [mapping(part) for part in sequence(term.get("value"))]
    return tuple(
        str(part.get("value")) if at == 0 or part.get("type") == "string" else "*" for at, part in enumerate(parts)
    )


def nodes(value: JsonValue) -> Iterator[Mapping[str, JsonValue]]:
    """Yield every object in a syntax tree."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def dotted(terms: JsonValue) -> str:
    """Return a reference with dots."""
    return ".".join(str(mapping(term).get("value")) for term in sequence(terms))


def at(value: JsonValue, *keys: str) -> JsonValue:
    """Return what stands below keys, ``None`` where there is nothing."""
    for key in keys:
        value = mapping(value).get(key)
    return value


def mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def sequence(value: JsonValue) -> Sequence[JsonValue]:
    """Return a list, an empty one for anything else."""
    return value if isinstance(value, list) else []
