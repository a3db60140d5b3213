"""Pull requests that people should be able to make without asking anybody: every check lets them pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from aisecops_server.domain.decisions.decision import Effect, Severity
from aisecops_server.domain.policy.rule_template import NewRule, rule_files

from tests.bad_pull_requests.pull_requests import PullRequest, added, both, rule, swapped
from tests.bad_pull_requests.pull_requests import body as body_of
from tests.scenes.policy.policy_repositories import Clone, checked, errors

pytestmark = pytest.mark.timeout(240)

REFUND = "rego/aisecops/rules/business/refund_without_order/refund_without_order"
NEW = NewRule("ops/scale_down", Effect.WARN, Severity.LOW, "site-reliability", "Scaling", "kubernetes/scale")
TEMPLATE = {path: text.decode() for path, text in rule_files(NEW).items()}
DESTINATION = "      role_scopes:\n        destination: {domains: [corp.example"
RELEASE = "  deploy/release:\n    always: true\n"
CASE = """
- case: closing the ticket that the user names needs nobody
  agent: support-assistant
  sources: [{kind: user_prompt, content: "Close ticket T-77 as solved"}]
  steps: [{tool: tickets/close, arguments: {ticket_id: T-77, resolution: solved}}]
  expect: {outcome: ALLOW, rules: []}
"""
AGENT = """
spiffe://corp.example/agent/reporting:
  owner: finance-operations
  contact: finance-systems@corp.example
  framework: langgraph
  environments: [production]
  capabilities:
    ledger.read: {granted_by: finance-controls, expires: "2027-06-30"}
"""
GOOD = [
    PullRequest("writes a comment", swapped("data/costs.yaml", ("tools:\n", "# Prices of the year.\ntools:\n"))),
    PullRequest("lowers a limit", swapped("data/budgets.yaml", ("session_calls: 200", "session_calls: 150"))),
    PullRequest("registers an agent with what it needs", added("data/agents.yaml", AGENT)),
    PullRequest("adds a golden case", added("cases/support.yaml", CASE)),
    PullRequest(
        "adds a rule from the template", lambda _clone: {path: text.decode() for path, text in rule_files(NEW).items()}
    ),
    PullRequest("adds a rule of its own", rule("business/own", body_of())),
    PullRequest(
        "says a rule's message better, in rule and test",
        both(
            swapped(f"{REFUND}.rego", ("so that finance can match it", "so that finance can match the two")),
            swapped(f"{REFUND}_test.rego", ("so that finance can match it", "so that finance can match the two")),
        ),
    ),
    PullRequest(
        "narrows a grant by a wildcard that ends",
        swapped(
            "data/agents.yaml",
            (f"{DESTINATION}]", f'      expires: "2027-06-30"\n{DESTINATION}, "*.corp.example"]'),
        ),
    ),
    PullRequest(
        "asks for one person more",
        swapped("data/approvals.yaml", (RELEASE, f"{RELEASE}    approvers_required: 2\n")),
    ),
    PullRequest(
        "closes a gate, and names what channels ask",
        swapped(
            "gates.yaml",
            ("most_flips: 20", "channels: {dev: {}, prod: {arrives: shadow, approvers: 2}}\nmost_flips: 10"),
        ),
    ),
    PullRequest(
        "adds a condition of its own",
        added(
            "conftest/business/names.rego",
            'package conftest.business.names\n\nimport data.conftest.lib.tables\n\ndeny contains "no agents" if {\n'
            '\tcount(tables.table("agents")) == 0\n}\n',
        ),
    ),
]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone.make(tmp_path_factory.mktemp("origin"))


@pytest.mark.parametrize("good", GOOD, ids=lambda good: good.name)
def test_it_passes(origin: Clone, tmp_path: Path, good: PullRequest) -> None:
    clone = origin.again(tmp_path / "mine")
    clone.branch("change")
    clone.write(good.edits(clone))
    clone.commit(good.name)
    report = checked(clone.path, base="origin/main")
    assert [(problem.code, problem.place, problem.message) for problem in errors(report)] == []
    assert not [result.name for result in report.results if result.skipped]
