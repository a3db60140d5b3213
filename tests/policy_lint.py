"""What every rule of a policy must say of itself and may not do, judged on the engine's own parse of it.

The caller runs ``opa inspect -a -f json`` and ``opa parse -f json`` and passes their answers as data; nothing is run
or read here. Each problem names the file, so that it can stand in a review.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.canonical import JsonValue
from aisecops_server.domain.decision import Effect, Severity

ENTRY_POINT = "data.aisecops.decision"
ROOTS = ("aisecops", "system")
FORBIDDEN_CALLS = frozenset({"opa.runtime", "print", "trace", "time.now_ns", "http.send", "net.lookup_ip_addr"})
LEAST_TESTS = 3
_RULE_DEPTH = 5  # data.aisecops.rules.<category>.<rule>
_TEXTS = ("effect", "severity", "owner", "remedy")


@dataclass(frozen=True, slots=True)
class Module:
    """One Rego file: its path in the repository and what ``opa parse`` says of it."""

    path: str
    syntax: JsonValue

    @property
    def package(self) -> str:
        """Return the package's name with dots, beginning with ``data``."""
        return _dotted(_at(self.syntax, "package", "path"))


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to mend before the policy can be used."""

    path: str
    message: str


def lint(modules: Sequence[Module], inspection: JsonValue) -> tuple[Problem, ...]:
    """Return every problem of a policy, by file. No module may stand twice."""
    annotations = dict(_package_annotations(inspection))
    problems = [*_of_roots(modules), *_of_entry_point(modules)]
    tests = {module.package: module for module in modules if module.package.endswith("_test")}
    for module in modules:
        problems += _of_calls(module)
        if _is_rule(module.package):
            problems += _of_annotations(module, annotations.get(module.package, {}))
            problems += _of_place(module)
            problems += _of_tests(module, tests.get(f"{module.package}_test"))
    return tuple(sorted(set(problems), key=lambda problem: (problem.path, problem.message)))


def _is_rule(package: str) -> bool:
    return package.startswith("data.aisecops.rules.") and not package.endswith("_test")


def _of_roots(modules: Sequence[Module]) -> Iterator[Problem]:
    found = {module.package.split(".")[1] for module in modules}
    for root in ROOTS:
        if root not in found:
            yield Problem("rego", f"no package under '{root}': the bundle must own that root")


def _of_entry_point(modules: Sequence[Module]) -> Iterator[Problem]:
    for module in modules:
        if module.package == ENTRY_POINT and any(_is_default_of(rule, "decision") for rule in _rules(module)):
            return
    yield Problem("rego", f"{ENTRY_POINT}.decision has no default, so it can be undefined")


def _of_annotations(module: Module, annotations: Mapping[str, JsonValue]) -> Iterator[Problem]:
    custom = _mapping(annotations.get("custom"))
    for key in ("title", "description"):
        if not annotations.get(key):
            yield Problem(module.path, f"METADATA has no {key}")
    for key in _TEXTS:
        if not custom.get(key):
            yield Problem(module.path, f"METADATA has no custom.{key}")
    if not custom.get("mappings"):
        yield Problem(module.path, "METADATA has no custom.mappings, which say what the rule is for")
    for key, kind in (("effect", Effect), ("severity", Severity)):
        if custom.get(key) and custom[key] not in set(kind):
            yield Problem(module.path, f"custom.{key} is not one of {', '.join(kind)}")


def _of_place(module: Module) -> Iterator[Problem]:
    parts = module.package.split(".")
    expected = "/".join(["rego", *parts[1:], f"{parts[-1]}.rego"])
    if len(parts) != _RULE_DEPTH or not f"/{module.path}".endswith(f"/{expected}"):
        yield Problem(module.path, f"the rule's place does not follow from its package; expected {expected}")


def _of_tests(module: Module, test: Module | None) -> Iterator[Problem]:
    names = [_rule_name(rule) for rule in _rules(test)] if test else []
    count = len({name for name in names if name.startswith("test_")})
    if count < LEAST_TESTS:
        yield Problem(module.path, f"{count} tests beside it; it needs one that fires, one that must not, one stranger")


def _of_calls(module: Module) -> Iterator[Problem]:
    for node in _nodes(module.syntax):
        for name in _calls_of(node):
            if name in FORBIDDEN_CALLS:
                yield Problem(module.path, f"{name} makes an answer that cannot be repeated or that leaks")
        if node.get("negated") and _nested_input_call(node.get("terms")):
            yield Problem(
                module.path,
                "'not' over a call inside a call on input fails when the input is missing; bind the inner call first",
            )


def _calls_of(node: Mapping[str, JsonValue]) -> Iterator[str]:
    terms = node.get("value") if node.get("type") == "call" else node.get("terms")
    if isinstance(terms, list) and terms and _mapping(terms[0]).get("type") == "ref":
        yield _dotted(_mapping(terms[0]).get("value"))


def _nested_input_call(terms: JsonValue) -> bool:
    if not isinstance(terms, list):
        return False
    inner = [term for term in terms[1:] if _mapping(term).get("type") == "call"]
    return any(_mapping(node).get("value") == "input" for call in inner for node in _nodes(call))


def _package_annotations(inspection: JsonValue) -> Iterator[tuple[str, Mapping[str, JsonValue]]]:
    for item in _sequence(_mapping(inspection).get("annotations")):
        annotations = _mapping(_mapping(item).get("annotations"))
        if annotations.get("scope") == "package":
            yield _dotted(_mapping(item).get("path")), annotations


def _rules(module: Module) -> Sequence[JsonValue]:
    return _sequence(_mapping(module.syntax).get("rules"))


def _rule_name(rule: JsonValue) -> str:
    return str(_at(rule, "head", "name") or _dotted(_at(rule, "head", "ref")))


def _is_default_of(rule: JsonValue, name: str) -> bool:
    return bool(_mapping(rule).get("default")) and _rule_name(rule) == name


def _dotted(terms: JsonValue) -> str:
    return ".".join(str(_mapping(term).get("value")) for term in _sequence(terms))


def _at(value: JsonValue, *keys: str) -> JsonValue:
    for key in keys:
        value = _mapping(value).get(key)
    return value


def _nodes(value: JsonValue) -> Iterator[Mapping[str, JsonValue]]:
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _sequence(value: JsonValue) -> Sequence[JsonValue]:
    return value if isinstance(value, list) else []
