"""The mapping that ships says what is so: every name exists, every list is whole, rules and rows agree."""

from __future__ import annotations

import ast
import json
import re

from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.adapters.git.shipped import shipped_policy
from aisecops_server.domain.compliance.compliance import Framework, Requirement, read_frameworks, unknown_mappings
from aisecops_server.domain.events.event_kinds import EVENT_KINDS
from aisecops_server.domain.policy.golden_case import read_cases
from aisecops_server.domain.policy.rule_mappings import mappings_of
from aisecops_server.usecases.compliance.live_checks import LIVE_CHECKS

from tests.house import tree
from tests.scenes.policy.rego_contract import REGO, run_opa

POLICY = shipped_policy()
MAPPINGS = mappings_of(POLICY, parse_yaml)
FRAMEWORKS = read_frameworks(
    {path: parse_yaml(path, content) for path, content in POLICY.items() if path.startswith("compliance/")}, MAPPINGS
)
CASES = {
    case.case
    for path, content in POLICY.items()
    if path.startswith("cases/")
    for case in read_cases(path, parse_yaml(path, content))
}
ROWS = [row for framework in FRAMEWORKS for row in framework.requirements]
SOC2 = {"CC1": 5, "CC2": 3, "CC3": 4, "CC4": 2, "CC5": 3, "CC6": 8, "CC7": 5, "CC8": 1, "CC9": 2}
NIST = {
    "GOVERN": (7, 3, 2, 3, 2, 2),
    "MAP": (6, 3, 5, 2, 2),
    "MEASURE": (3, 13, 3, 3),
    "MANAGE": (4, 4, 2, 3),
}
ANNEX_A = {"5": 37, "6": 8, "7": 14, "8": 34}
# Said by what the log can hold and by no single place of the code: a word, and an enumeration behind it.
MADE_OF_PARTS = ("incident.", "execution.", "notice.")


def framework(id: str) -> Framework:
    return next(found for found in FRAMEWORKS if found.id == id)


def covered(id: str, pattern: str = r"(.*?)(\d+)") -> list[str]:
    """Return every single id that the rows of a framework stand for, ranges written out."""
    found = []
    for row in framework(id).requirements:
        first, _, last = row.id.partition("-")
        matched = re.fullmatch(pattern, first)
        assert matched, row.id
        end = int(re.fullmatch(pattern, last)[2]) if last else int(matched[2])  # type: ignore[index]
        found += [f"{matched[1]}{number}" for number in range(int(matched[2]), end + 1)]
    return found


def test_every_rule_says_what_it_is_for_in_words_that_a_framework_has() -> None:
    assert list(unknown_mappings(FRAMEWORKS, MAPPINGS)) == []
    assert [rule for rule, names in MAPPINGS.items() if not names] == []


def test_what_the_rules_say_is_what_the_engine_reads_of_them() -> None:
    inspected = json.loads(run_opa("inspect", "-a", "-f", "json", REGO).stdout)["annotations"]
    said = {
        ".".join(part["value"] for part in item["path"][3:]): tuple(item["annotations"]["custom"]["mappings"])
        for item in inspected
        if [part["value"] for part in item["path"][:3]] == ["data", "aisecops", "rules"]
        and item["annotations"]["scope"] == "package"
        and "mappings" in item["annotations"].get("custom", {})
    }
    assert said == MAPPINGS


def test_every_name_of_a_row_exists() -> None:
    known = {"rules": MAPPINGS, "events": EVENT_KINDS, "scenarios": CASES, "checks": LIVE_CHECKS}
    missing = [
        f"{row.framework}:{row.id}: {name}"
        for row in ROWS
        for kind, names in known.items()
        for name in getattr(row, kind)
        if name not in names
    ]
    assert missing == []


def test_every_check_shows_something() -> None:
    assert set(LIVE_CHECKS) - {name for row in ROWS for name in row.checks} == set()


def test_what_rules_serve_is_covered_and_what_is_covered_by_a_list_of_theirs_has_rules() -> None:
    lists = [row for row in ROWS if row.framework.startswith("owasp-")]
    assert [row.id for row in lists if bool(row.rules) == (row.coverage == "none")] == []


def test_every_list_is_whole_and_in_order() -> None:
    assert [row.id for row in framework("owasp-llm-2025").requirements] == [f"LLM{n:02d}" for n in range(1, 11)]
    assert [row.id for row in framework("owasp-agentic-2026").requirements] == [f"ASI{n:02d}" for n in range(1, 11)]
    assert covered("nist-ai-600-1") == [f"2.{number}" for number in range(1, 13)]
    annex = [f"{theme}.{number}" for theme, last in ANNEX_A.items() for number in range(1, last + 1)]
    assert covered("iso-27001-2022") == annex
    assert len(annex) == 93
    criteria = [f"{series}.{number}" for series, last in SOC2.items() for number in range(1, last + 1)]
    assert [name for name in covered("soc2-tsc-2017", r"([A-Z]+\d?\.|P\d\.)(\d+)") if name.startswith("CC")] == criteria
    subcategories = [
        f"{function} {category}.{number}"
        for function, categories in NIST.items()
        for category, last in enumerate(categories, 1)
        for number in range(1, last + 1)
    ]
    assert covered("nist-ai-rmf-1") == subcategories
    assert len(subcategories) == 72


def test_the_articles_of_the_law_stand_paragraph_by_paragraph() -> None:
    paragraphs = [row.id for row in framework("eu-ai-act-2024").requirements]
    points = {12: ["1", "2)(a", "2)(b", "2)(c", "3"], 19: ["1", "2"]}
    oversight = ["1", "2", "3", "4)(a", "4)(b", "4)(c", "4)(d", "4)(e", "5"]
    wanted = [f"{article}({point})" for article, listed in {**points, 14: oversight}.items() for point in listed]
    assert sorted(paragraphs) == sorted(wanted)


def test_every_kind_of_event_that_the_code_makes_is_listed_and_no_other() -> None:
    said = _dotted_words()
    assert [kind for kind in EVENT_KINDS if kind not in said and not kind.startswith(MADE_OF_PARTS)] == []
    made = _made(tree.under(f"{tree.SERVER}/", suffix=".py"))
    assert made - set(EVENT_KINDS) == set()
    assert {"vote_key.rotated", "payload.erased", "drift.found"} <= made
    assert len(made) > 20


def _made(paths: list[str]) -> set[str]:
    """What is given as the type of an event: a word with a dot, one of two, or a constant of such a word."""
    constants: dict[str, set[str]] = {}
    for path in paths:
        for node in tree.parsed(path).body:
            if isinstance(node, ast.Assign):
                for name, value in _assigned(node):
                    constants.setdefault(name, set()).add(value)
    return {
        word
        for path in paths
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.Call)
        for given in _types(node)
        for word in _words(given, constants)
    }


def _types(call: ast.Call) -> list[ast.expr]:
    function = ast.unparse(call.func)
    if function == "control_event":
        return call.args[:1]
    return [] if function.startswith("click.") else [word.value for word in call.keywords if word.arg == "type"]


def _assigned(node: ast.Assign) -> list[tuple[str, str]]:
    [target], value = node.targets, node.value
    is_many = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
    pairs = zip(target.elts, value.elts, strict=True) if is_many else [(target, value)]  # type: ignore[attr-defined]
    return [
        (name.id, held.value)
        for name, held in pairs
        if isinstance(name, ast.Name) and isinstance(held, ast.Constant) and isinstance(held.value, str)
    ]


def _words(value: ast.expr, constants: dict[str, set[str]]) -> set[str]:
    if isinstance(value, ast.IfExp):
        return _words(value.body, constants) | _words(value.orelse, constants)
    if isinstance(value, ast.Name | ast.Attribute):
        words = constants.get(value.id if isinstance(value, ast.Name) else value.attr, set())
    else:
        words = {value.value} if isinstance(value, ast.Constant) and isinstance(value.value, str) else set()
    return {word for word in words if re.fullmatch(r"[a-z_]+\.[a-z_]+", word)}


UNBUILT = re.compile(r"not (?:a )?part of the product yet", re.IGNORECASE)
# What a row is about, and the kind of event that there is only because it is built.
BUILT = {"retention": "payload.erased", "deletion": "payload.erased", "disposal": "payload.erased"}


def test_no_gap_says_that_something_is_missing_which_the_log_can_tell_of() -> None:
    wrong = [
        f"{row.framework}:{row.id}"
        for row in ROWS
        for word, kind in BUILT.items()
        if kind in EVENT_KINDS and UNBUILT.search(row.gap) and word in f"{row.title} {row.gap}".lower()
    ]
    assert wrong == []


def test_no_row_promises_more_than_its_gap_leaves() -> None:
    silent = [f"{row.framework}:{row.id}" for row in ROWS if row.coverage != "full" and len(row.gap) < 10]
    assert (silent, _doubled(ROWS)) == ([], [])


def _doubled(rows: list[Requirement]) -> list[str]:
    return [
        f"{row.framework}:{row.id}"
        for row in rows
        if any(len(set(names)) != len(names) for names in (row.rules, row.events, row.scenarios, row.checks))
    ]


def _dotted_words() -> set[str]:
    return {
        node.value
        for path in tree.under(
            f"{tree.SERVER}/domain/", f"{tree.SERVER}/usecases/", f"{tree.SERVER}/bootstrap/", suffix=".py"
        )
        if not path.endswith("event_kinds.py")
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
