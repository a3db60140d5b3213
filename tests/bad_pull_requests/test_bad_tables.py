"""Pull requests that would open a door in a table: each is stopped by the right check, which says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from aisecops_server.bootstrap.policy import conftest_program
from aisecops_server.domain.policy.policy_check import CheckName

from tests.bad_pull_requests.pull_requests import PullRequest, added, stopped_by, swapped
from tests.scenes.policy.policy_repositories import Clone, checked, errors

pytestmark = pytest.mark.timeout(240)

SUPPORT_CASE = "cases/support.yaml"
FOR_EVER = (
    "- {code: conftest.budgets.ceiling, subject: profiles.default.session_calls, owner: me,"
    " reason: it is in the way, expires: 2099-01-01}\n"
)
OVER_LIMIT = "approval.amount_over_limit"
FETCH = "  description: Fetch a public page.\n  effect: read\n  reach: external\n  result_trust: "
BAD = [
    PullRequest(
        "trusts what a search finds",
        swapped("data/trust.yaml", ("retrieval_chunk: external", "retrieval_chunk: trusted")),
        "conftest.trust.raised",
        "data/trust.yaml",
        "others can write it",
    ),
    PullRequest(
        "trusts what a web page says",
        swapped("data/tools.yaml", (f"{FETCH}external", f"{FETCH}trusted")),
        "conftest.trust.result",
        "data/tools.yaml",
        "its result is trusted as trusted",
    ),
    PullRequest(
        "grants a wildcard for ever",
        swapped(
            "data/agents.yaml", ("destination: {domains: [corp.example]}", 'destination: {domains: ["*.example"]}')
        ),
        "conftest.grants.wildcard",
        "data/agents.yaml",
        "never ends",
    ),
    PullRequest(
        "lifts a ceiling",
        swapped("data/budgets.yaml", ("micro_usd: 10000000}", "micro_usd: 10000000000}")),
        "conftest.budgets.ceiling",
        "data/budgets.yaml",
        "above 1000000000",
    ),
    PullRequest(
        "lets one person send any amount",
        swapped(
            "data/approvals.yaml",
            (
                "    approvers_required: 2\n    groups: [finance-approvers]",
                "    approvers_required: 1\n    groups: [finance-approvers]",
            ),
        ),
        "conftest.approvals.quorum",
        "data/approvals.yaml",
        "it must take two",
    ),
    PullRequest(
        "asks nobody about refunds any more",
        swapped(
            "data/approvals.yaml", ("  crm/issue_refund:\n    amount_argument: amount\n    amount_over: 100\n", "")
        ),
        "conftest.approvals.spend",
        "data/tools.yaml",
        "nobody ever has to agree",
    ),
    PullRequest(
        "asks more people than there are",
        swapped(
            "data/approvals.yaml",
            (
                "    approvers_required: 2\n    groups: [finance-approvers]",
                "    approvers_required: 9\n    groups: [finance-approvers]",
            ),
        ),
        "conftest.approvals.people",
        "data/approvals.yaml",
        "9 of 'finance-approvers' must agree",
    ),
    PullRequest(
        "only observes from now on",
        swapped("data/modes.yaml", ("default: enforce", "default: observe")),
        "conftest.modes.default",
        "data/modes.yaml",
        "only observed",
    ),
    PullRequest(
        "switches a rule off for everybody",
        swapped("data/modes.yaml", ("rules: {}", "rules: {provenance.destination_dictated: observe}")),
        "conftest.modes.rule",
        "data/modes.yaml",
        "blocks nobody any more",
    ),
    PullRequest(
        "only notes instructions in what tools return",
        swapped("data/screen.yaml", ("  tool_result:\n    injection: block", "  tool_result:\n    injection: note")),
        "conftest.screen.injection",
        "data/screen.yaml",
        "are let through",
    ),
    PullRequest(
        "says that sending is reading",
        swapped("data/tools.yaml", ("in the user's name.\n  effect: send", "in the user's name.\n  effect: read")),
        "conftest.tools.effect",
        "data/tools.yaml",
        "its name says 'send', and its effect is read",
    ),
    PullRequest(
        "lets a tool read files of the machine",
        swapped("data/tools.yaml", ("allowed_schemes: [https, ssh]", "allowed_schemes: [https, ssh, file]")),
        "conftest.tools.scheme",
        "data/tools.yaml",
        "which reach into the machine",
    ),
    PullRequest(
        "opens the address where machines tell their credentials",
        swapped("data/tools.yaml", ("web/fetch:\n", "web/fetch:\n  allowed_hosts: [169.254.169.254]\n")),
        "conftest.tools.host",
        "data/tools.yaml",
        "where machines tell their credentials",
    ),
    PullRequest(
        "grants what is not defined",
        swapped("data/agents.yaml", ("refund.issue: {granted_by", "refund.isue: {granted_by")),
        "compile.table",
        "data/agents.yaml",
        "the nearest is 'refund.issue'",
    ),
    PullRequest(
        "misspells a field",
        swapped(
            "data/agents.yaml",
            ("  contact: support-platform@corp.example", "  contacts: support-platform@corp.example"),
        ),
        "compile.table",
        "data/agents.yaml",
        "contact",
    ),
    PullRequest(
        "writes a key twice, of which readers see different ones",
        swapped("data/modes.yaml", ("default: enforce", "default: enforce\ndefault: observe")),
        "compile.table",
        "data/modes.yaml",
        "stands twice",
    ),
    PullRequest(
        "removes the golden case that is in the way",
        swapped(SUPPORT_CASE, ("- case: a support agent does not deploy\n", "- case: x\n")),
        "changes.case-removed",
        SUPPORT_CASE,
        "the golden case 'a support agent does not deploy' is gone",
    ),
    PullRequest(
        "expects less of a golden case",
        swapped(
            SUPPORT_CASE,
            ("expect: {outcome: DENY, rules: [arguments.address_internal]}", "expect: {outcome_not: REQUIRE_APPROVAL}"),
        ),
        "changes.case-loosened",
        SUPPORT_CASE,
        "expects less than it did",
    ),
    PullRequest(
        "keeps the sentence of a golden case and asks something else",
        swapped(SUPPORT_CASE, ('content: "Deploy version 1.4 of checkout"', 'content: "Deploy version 1.4"')),
        "changes.case-loosened",
        SUPPORT_CASE,
        "expects less than it did",
    ),
    PullRequest(
        "breaks a golden case by a limit",
        swapped("data/approvals.yaml", ("amount_over: 100\n", "amount_over: 10\n")),
        "golden.changed",
        SUPPORT_CASE,
        "expected ALLOW, it is REQUIRE_APPROVAL by approval.amount_over_limit",
    ),
    PullRequest(
        "adds a table that nobody owns",
        added("data/favourites.yaml", "support: {}\n"),
        "compile.table",
        "data/favourites.yaml",
        "there is no such table",
    ),
    PullRequest(
        "takes the owner of the trust table away",
        swapped(
            "bundle.yaml", ("  data/trust.yaml: {role: security, team: platform-security, reviewed_by: secops}\n", "")
        ),
        "compile.table",
        "bundle.yaml",
        "nobody owns data/trust.yaml",
    ),
    PullRequest(
        "reviews its own changes",
        swapped(
            "bundle.yaml",
            (
                "data/agents.yaml: {role: platform, team: agent-platform, reviewed_by: security}",
                "data/agents.yaml: {role: platform, team: agent-platform, reviewed_by: platform}",
            ),
        ),
        "compile.table",
        "bundle.yaml",
        "nobody reviews their own changes",
    ),
    PullRequest(
        "leaves security out of what is trusted",
        swapped("bundle.yaml", ("data/trust.yaml: {role: security,", "data/trust.yaml: {role: platform,")),
        "conftest.manifest.role",
        "bundle.yaml",
        "security has no word in it",
    ),
    PullRequest(
        "lets one group approve its own approvals",
        swapped("CODEOWNERS", ("/data/approvals.yaml      @secops @security", "/data/approvals.yaml      @secops")),
        "lint.owners",
        "CODEOWNERS",
        "a change of data/approvals.yaml needs only @secops",
    ),
    PullRequest(
        "takes one rule away from those who review all of them",
        added("CODEOWNERS", "/rego/aisecops/rules/budget/ @platform\n"),
        "lint.owners",
        "CODEOWNERS",
        "needs only @platform; two groups must look at it",
    ),
    PullRequest(
        "has a star cover one name where a folder was covered",
        swapped("CODEOWNERS", ("/rego/ ", "/rego/* ")),
        "lint.owners",
        "CODEOWNERS",
        "a change of rego needs nobody",
    ),
    PullRequest(
        "puts a list of its own where the host looks first",
        added(".github/CODEOWNERS", "* @platform\n"),
        "lint.owners",
        ".github/CODEOWNERS",
        "needs only @platform",
    ),
    PullRequest(
        "lets anybody change what runs the checks",
        swapped("CODEOWNERS", ("/.github/                 @security @platform\n", "")),
        "lint.owners",
        "CODEOWNERS",
        "a change of .github/ needs nobody",
    ),
    PullRequest(
        "waives a ceiling for ever",
        swapped(
            "waivers.yaml",
            (
                "[]\n",
                FOR_EVER,
            ),
        ),
        "conftest.gates.long",
        "waivers.yaml",
        "more than 180 days",
    ),
    PullRequest(
        "waives that it compiles",
        swapped(
            "waivers.yaml",
            ("[]\n", "- {code: compile.table, subject: x, owner: me, reason: it is in the way, expires: 2026-12-31}\n"),
        ),
        "waiver.unusable",
        "waivers.yaml",
        "nobody can waive that",
    ),
    PullRequest(
        "opens the gates for the change that comes next",
        swapped("gates.yaml", ("most_flips: 20", "most_flips: 100000")),
        "changes.gate-opened",
        "gates.yaml",
        "most_flips went from 20 to 100000",
    ),
    PullRequest(
        "asks for less before a promotion",
        added("gates.yaml", "rollout: {seconds: 0, decisions: 0}\n"),
        "changes.gate-opened",
        "gates.yaml",
        "rollout.seconds went from 600 to 0",
    ),
    PullRequest(
        "accepts flips in words that nobody can read",
        swapped("accepted-flips.yaml", ("[]\n", f"- {{rule: {OVER_LIMIT}, direction: both, max_count: 1000000}}\n")),
        "compile.gates",
        "accepted-flips.yaml",
        "owner: Field required",
    ),
    PullRequest(
        "writes gates that nobody can read, for which every later change would be refused",
        swapped("gates.yaml", ("severity: high", "severity: none")),
        "compile.gates",
        "gates.yaml",
        "severity",
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


def test_a_list_of_owners_is_what_the_host_has_of_it_and_not_what_a_link_leads_to(
    origin: Clone, tmp_path: Path
) -> None:
    clone = origin.again(tmp_path / "mine")
    (clone.path / "CODEOWNERS").rename(clone.path / "owners")
    (clone.path / "CODEOWNERS").symlink_to("owners")
    found = errors(checked(clone.path, only=[CheckName.LINT]))
    assert {(problem.code, problem.path) for problem in found} == {("lint.owners", "CODEOWNERS")}


@pytest.mark.skipif(conftest_program() is None, reason="Conftest is not installed: 'make conftest' builds it")
@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.code.startswith("conftest.")], ids=lambda bad: bad.name)
def test_real_conftest_says_what_the_engine_says(origin: Clone, tmp_path: Path, bad: PullRequest) -> None:
    clone = origin.again(tmp_path / "mine")
    clone.write(bad.edits(clone))
    [by_conftest] = checked(clone.path, only=[CheckName.CONFTEST]).results
    [by_engine] = checked(clone.path, only=[CheckName.CONFTEST], conftest=None).results
    assert (by_conftest.facts["run_by"], by_engine.facts["run_by"]) == ("conftest", "opa")
    assert set(by_conftest.problems) == set(by_engine.problems) != set()
