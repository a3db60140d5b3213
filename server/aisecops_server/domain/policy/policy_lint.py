"""What every rule of a policy must say of itself and may not do, judged on the engine's own parse of it.

The caller parses; nothing is run or read here. Each problem has a stable code, names file and line, and says what to
do. Few complaints, each about what goes wrong: a rule that nobody answers for, an answer that cannot be repeated, a
decision made where nobody looks for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from aisecops_server.domain.decisions.decision import Effect, Severity
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_check import Level, Problem, in_order
from aisecops_server.domain.policy.policy_lint_words import misspelt_words
from aisecops_server.domain.policy.rego_syntax import (
    Module,
    at,
    calls,
    dotted,
    line_of,
    mapping,
    nodes,
    path_of,
    references,
    rule_name,
    sequence,
)

ENTRY_POINT = "data.aisecops.decision"
ROOTS = ("aisecops", "system")
FORBIDDEN_CALLS = frozenset({"opa.runtime", "print", "trace", "time.now_ns", "http.send", "net.lookup_ip_addr"})
LEAST_TESTS = 3
_RULE_DEPTH = 5  # data.aisecops.rules.<category>.<rule>
_TEXTS = ("effect", "severity", "owner", "remedy")
# Who composes: the only packages that may look at rules, or evaluate under another document.
_COMPOSERS = ("data.aisecops.decision", "data.aisecops.screen", "data.aisecops.batch")
_LARGE_TABLES = ("agents", "tools", "people", "grants")
_FINDINGS = "findings"
# What guards the engine, which always comes from the product: a repository's own copies are left out of its bundle.
_GUARDS = ("rego/system/", "rego/aisecops/batch/")
_DECIDING = ("allow", "decision", "outcome")
_MEMBERS = ("internal.member_2", "internal.member_3")


def lint(
    modules: Sequence[Module], *, schemas: Mapping[str, JsonValue], chosen: frozenset[str] | None = None
) -> tuple[Problem, ...]:
    """Return every problem of a policy, by file. No module may stand twice.

    ``chosen`` are the paths to judge (all when left out); the others are only known to be there.
    """
    problems = [*_of_roots(modules), *_of_entry_point(modules), *_of_shadows(modules)]
    tests = {module.package: module for module in modules if module.is_test}
    for module in modules:
        if chosen is not None and module.path not in chosen:
            continue
        problems += _of_any(module)
        if module.is_test:
            problems += _of_test(module)
            continue
        problems += [*_of_policy(module), *misspelt_words(module, schemas)]
        if is_rule(module.package):
            problems += _of_annotations(module)
            problems += _of_place(module)
            problems += _of_tests(module, tests.get(f"{module.package}_test"))
    return in_order(problems)


def is_rule(package: str) -> bool:
    """Return whether a package is a rule's."""
    return package.startswith("data.aisecops.rules.") and not package.endswith("_test")


def rule_of(package: str) -> str:
    """Return the name of the rule that a package is, or whose tests it has."""
    return package.removeprefix("data.aisecops.rules.").removesuffix("_test")


def _problem(module: Module, node: JsonValue, code: str, *, message: str, hint: str = "") -> Problem:
    subject = rule_of(module.package) if module.package.startswith("data.aisecops.rules.") else module.path
    line = line_of(node) or module.package_line
    return Problem(f"lint.{code}", message, hint, path=module.path, line=line, subject=subject)


def _of_roots(modules: Sequence[Module]) -> Iterator[Problem]:
    found = {module.package.split(".")[1] for module in modules if "." in module.package}
    for root in ROOTS:
        if root not in found:
            yield Problem("lint.root", f"no package under '{root}': the bundle must own that root", path="rego")


def _of_entry_point(modules: Sequence[Module]) -> Iterator[Problem]:
    for module in modules:
        if module.package == ENTRY_POINT and any(_is_default_of(rule, "decision") for rule in module.rules):
            return
    yield Problem(
        "lint.entry-point",
        f"{ENTRY_POINT}.decision has no default, so it can be undefined",
        hint="Take rego/aisecops/decision from the product's library",
        path="rego/aisecops/decision/decision.rego",
    )


def _of_shadows(modules: Sequence[Module]) -> Iterator[Problem]:
    """Yield files that add to a package of another file: what they say would be read as that one's."""
    first: dict[str, Module] = {}
    for module in sorted(modules, key=lambda each: (not _is_in_place(each), each.path)):
        if module.is_test or not module.package.startswith("data.aisecops"):
            continue
        if other := first.get(module.package):
            yield _problem(
                module,
                at(module.syntax, "package"),
                "shadow",
                message=f"the package {module.package.removeprefix('data.')} stands in {other.path} already",
                hint="Give it a package of its own, called as its directory",
            )
        first.setdefault(module.package, module)


def _is_in_place(module: Module) -> bool:
    folder = "/".join(PurePosixPath(module.path).parts[-len(module.package.split(".")) : -1])
    return folder == "/".join(module.package.split(".")[1:])


def _of_any(module: Module) -> Iterator[Problem]:
    if not module.path.startswith(_GUARDS) and (
        not module.package.startswith("data.aisecops.") or module.package.startswith("data.aisecops.batch")
    ):
        yield _problem(
            module,
            at(module.syntax, "package"),
            "foreign-package",
            message=f"the package {module.package.removeprefix('data.')} is not the policy repository's to declare",
            hint="Packages are called as their directory: aisecops.rules.CATEGORY.RULE",
        )
    for node in nodes(module.syntax):
        for name in calls(node):
            if name in FORBIDDEN_CALLS:
                yield _problem(
                    module,
                    node,
                    "forbidden-call",
                    message=f"{name} makes an answer that cannot be repeated or that leaks",
                    hint="Decide on what stands in the document: the time is input.now, usage is input.usage",
                )


def _of_policy(module: Module) -> Iterator[Problem]:
    composes = module.package in _COMPOSERS
    for node in nodes(module.syntax):
        yield from _of_negation(module, node)
        if not composes:
            yield from _of_with(module, node)
        if is_rule(module.package):
            yield from _of_scan(module, node)
        for path in references(node):
            yield from _of_reference(module, node, path, composes=composes)
    for rule in module.rules:
        yield from _of_head(module, rule)


def _of_negation(module: Module, node: Mapping[str, JsonValue]) -> Iterator[Problem]:
    if node.get("negated") and _nested_input_call(node.get("terms")):
        yield _problem(
            module,
            node,
            "negated-call",
            message="'not' over a call inside a call on input fails when the input is missing; "
            "bind the inner call first",
            hint="Write 'value := lower(input.x)' on a line of its own, and 'not startswith(value, …)' below it",
        )


def _of_with(module: Module, node: Mapping[str, JsonValue]) -> Iterator[Problem]:
    for modifier in sequence(node.get("with")):
        target = mapping(at(modifier, "target"))
        yield _problem(
            module,
            node,
            "with",
            message=f"'with {dotted(target.get('value'))}' makes policy judge another document "
            "than the one that is recorded",
            hint="'with' is for tests; read the document and the tables as they are",
        )


def _of_reference(module: Module, node: JsonValue, path: tuple[str, ...], *, composes: bool) -> Iterator[Problem]:
    package = module.package.split(".")
    if path[:3] == ("data", "aisecops", "rules") and not composes and list(path[: len(package)]) != package:
        yield _problem(
            module,
            node,
            "rule-reads-rule",
            message=f"it reads {'.'.join(path)}: rules never know each other",
            hint="Put what both need under rego/aisecops/lib",
        )
    if path[:3] == ("data", "aisecops", "decision") and not composes:
        yield _problem(
            module,
            node,
            "rule-reads-decision",
            message="a rule reads the decision that it is a part of",
            hint="Read the document",
        )


def _of_scan(module: Module, node: Mapping[str, JsonValue]) -> Iterator[Problem]:
    """Yield iterations over whole tables: by ``some x in`` over one, or by a key that nobody names."""
    table = ""
    for path in references(node):
        keys = [mapping(part) for part in sequence(node.get("value"))]
        if path[:2] == ("data", "tables") and len(keys) > 3 and str(keys[3].get("value")).startswith("$"):  # noqa: PLR2004
            table = path[2]
    for name in calls(node):
        terms = sequence(node.get("value"))
        path = path_of(mapping(terms[-1])) if name in _MEMBERS and terms else ()
        table = path[2] if path[:2] == ("data", "tables") and len(path) == 3 else table  # noqa: PLR2004 - a whole table
    if table in _LARGE_TABLES:
        found = _problem(
            module,
            node,
            "scan",
            message=f"it looks at every entry of data.tables.{table}, which costs more with each that is added",
            hint=f"Look up by key: data.tables.{table}[key]",
        )
        yield replace(found, level=Level.WARNING)


def _of_head(module: Module, rule: JsonValue) -> Iterator[Problem]:
    name, value = rule_name(rule), mapping(at(rule, "head", "value"))
    allows = value.get("value") in (True, "ALLOW") and name.split(".")[0] in _DECIDING
    if mapping(rule).get("default") and allows:
        yield _problem(
            module,
            rule,
            "default-allow",
            message=f"'default {name}' lets through whatever nothing is known of",
            hint="Make it deny, and let rules find what is wrong",
        )
    if is_rule(module.package) and name == _FINDINGS and not at(rule, "head", "key"):
        yield _problem(
            module,
            rule,
            "findings",
            message="findings is no set, so it replaces findings instead of adding one",
            hint="Write 'findings contains finding if { … }'",
        )


def _of_test(module: Module) -> Iterator[Problem]:
    for rule in module.rules:
        name = rule_name(rule)
        if name.startswith("todo_test_"):
            yield _problem(
                module,
                rule,
                "test-off",
                message=f"{name} is not run",
                hint="Mend the test, or remove it and say why in the commit",
            )


def _of_annotations(module: Module) -> Iterator[Problem]:
    annotations = module.annotations
    custom = mapping(annotations.get("custom"))
    told = functools.partial(_problem, module, at(module.syntax, "package"))
    missing = [name for name in ("title", "description") if not annotations.get(name)]
    missing += [f"custom.{key}" for key in _TEXTS if not custom.get(key)]
    for name in missing:
        yield told("metadata", message=f"METADATA has no {name}", hint="'aisecops policy new-rule' writes all of it")
    if not custom.get("mappings"):
        yield told(
            "metadata",
            message="METADATA has no custom.mappings, which say what the rule is for",
            hint="Name the controls that it serves, such as owasp-llm-2025:LLM06",
        )
    yield from _of_words(custom, told)


def _of_words(custom: Mapping[str, JsonValue], told: Callable[..., Problem]) -> Iterator[Problem]:
    for key, kind in (("effect", Effect), ("severity", Severity)):
        if custom.get(key) and custom[key] not in set(kind):
            yield told("word", message=f"custom.{key} is not one of {', '.join(kind)}", hint="Use one of them")


def _of_place(module: Module) -> Iterator[Problem]:
    parts = module.package.split(".")
    expected = "/".join(["rego", *parts[1:], f"{parts[-1]}.rego"])
    if len(parts) != _RULE_DEPTH or not f"/{module.path}".endswith(f"/{expected}"):
        yield _problem(
            module,
            at(module.syntax, "package"),
            "place",
            message=f"the rule's place does not follow from its package; expected {expected}",
            hint="One rule is one directory: rego/aisecops/rules/CATEGORY/RULE/RULE.rego",
        )


def _of_tests(module: Module, test: Module | None) -> Iterator[Problem]:
    names = [rule_name(rule) for rule in test.rules] if test else []
    count = len({name for name in names if name.startswith("test_")})
    if count < LEAST_TESTS:
        yield _problem(
            module,
            at(module.syntax, "package"),
            "tests",
            message=f"{count} tests beside it; it needs one that fires, one that must not, one stranger",
            hint=f"Write them in {PurePosixPath(module.path).stem}_test.rego",
        )


def _nested_input_call(terms: JsonValue) -> bool:
    if not isinstance(terms, list):
        return False
    inner = [term for term in terms[1:] if mapping(term).get("type") == "call"]
    return any(mapping(node).get("value") == "input" for call in inner for node in nodes(call))


def _is_default_of(rule: JsonValue, name: str) -> bool:
    return bool(mapping(rule).get("default")) and rule_name(rule) == name
