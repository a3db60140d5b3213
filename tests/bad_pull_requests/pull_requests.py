"""Pull requests, each a real branch of a real remote: what it edits, and which check must say what of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aisecops_server.domain.policy.policy_check import Problem

from tests.scenes.policy.policy_repositories import Clone, checked, errors

Edits = Mapping[str, "str | None"]
RULES = "rego/aisecops/rules"
REFUND = f"{RULES}/business/refund_without_order/refund_without_order"
WEEKEND = f"{RULES}/business/release_at_weekend/release_at_weekend"


@dataclass(frozen=True)
class PullRequest:
    """A branch. ``code`` is the problem that must stop it, at ``place``, and ``says`` is in what it says."""

    name: str
    edits: Callable[[Clone], Edits]
    code: str = ""
    place: str = ""
    says: str = ""


def swapped(path: str, *pairs: tuple[str, str]) -> Callable[[Clone], Edits]:
    """Return edits that put one text in the place of another; each must be there."""

    def edits(clone: Clone) -> Edits:
        text = clone.text(path)
        for old, new in pairs:
            assert old in text, (path, old)
            text = text.replace(old, new)
        return {path: text}

    return edits


def added(path: str, text: str) -> Callable[[Clone], Edits]:
    """Return edits that write a file, or add to the end of one."""

    def edits(clone: Clone) -> Edits:
        before = clone.text(path) if (clone.path / path).exists() else ""
        return {path: before + text}

    return edits


def both(*several: Callable[[Clone], Edits]) -> Callable[[Clone], Edits]:
    """Return the edits of several."""
    return lambda clone: {path: text for edits in several for path, text in edits(clone).items()}


def rule(name: str, body: str, *, metadata: str = "", test: str | None = None) -> Callable[[Clone], Edits]:
    """Return edits that add a rule with a body of one's own, and a test that fits the template unless one is given."""
    category, _, rule_name = name.partition("/")
    about = metadata or METADATA
    head = f"{about}package aisecops.rules.{category}.{rule_name}\n\n"
    text = f"{head}import data.aisecops.lib\nimport data.aisecops.result\n\n{body}"
    tested = TEST if test is None else test
    base = f"{RULES}/{name}/{rule_name}"
    files = {f"{base}.rego": text}
    if tested:
        files[f"{base}_test.rego"] = tested.replace("CATEGORY", category).replace("RULE", rule_name)
    return lambda _clone: files


METADATA = """# METADATA
# title: A rule
# description: What it is about.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Leave it out.
#   mappings: [owasp-llm-2025:LLM06]
"""
BODY = """findings contains finding if {
	some joined in lib.steps
	joined.tool == "some/tool"
	EXTRA
	finding := result.finding(rego.metadata.chain(), joined.id, [lib.tool_fact(joined)])
}
"""
TEST = """package aisecops.rules.CATEGORY.RULE_test

import data.aisecops.rules.CATEGORY.RULE
import data.aisecops.testing

found(document) := findings if {
	findings := RULE.findings with input as document with data.tables as testing.tables
}

test_it_is_found if {
	count(found(testing.one("some/tool", {}))) == 1
}

test_a_near_miss_is_left_alone if {
	found(testing.one("some/other", {})) == set()
}

test_a_stranger_is_told_too if {
	count(found(testing.from_stranger(testing.one("some/tool", {})))) == 1
}
"""


def body(extra: str = "") -> str:
    """Return the body of a rule with one more line in it."""
    return BODY.replace("\tEXTRA\n", f"\t{extra}\n" if extra else "")


def stopped_by(clone: Clone, bad: PullRequest) -> list[Problem]:
    """Push a pull request as a branch, check it, and return the problems that are the expected one, at its place."""
    clone.branch("change")
    clone.write(bad.edits(clone))
    clone.commit(bad.name)
    found = errors(checked(clone.path, base="origin/main"))
    named = [problem for problem in found if problem.code == bad.code]
    assert named, [(problem.code, problem.place, problem.message) for problem in found]
    at_place = [problem for problem in named if problem.path == bad.place and bad.says in problem.message]
    assert at_place, [(problem.place, problem.message) for problem in named]
    return at_place
