"""A pull request from its branch to its merge: real Git with a real remote, real decisions, real gates."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aisecops.v1.decision_pb2 import Outcome
from aisecops.v1.plan_pb2 import ExecutionPlan
from aisecops_client import PlanBuilder
from aisecops_server.adapters.corpus.corpus_file import read_corpus, write_corpus
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.domain.replays.replay import Selection
from aisecops_server.domain.rollouts.rollout import Selector
from aisecops_server.settings import Settings
from aisecops_server.usecases.bundles.activate import Order
from aisecops_server.usecases.policy.export_corpus import ExportedCorpus
from aisecops_server.usecases.rollouts.rollouts import Rollouts, RolloutStatus, StartCommand

from tests.integration.api.real import running
from tests.scenes.policy.policy_repositories import Clone, checked, errors, starter
from tests.scenes.replays.replays import Recorded, open_replaying, record
from tests.support import opa_binary

pytestmark = pytest.mark.timeout(300)

REFUND_LIMIT = (
    "    amount_argument: amount\n    amount_over: 100\n",
    "    amount_argument: amount\n    amount_over: 50\n",
)
SUMMER = """
spiffe://corp.example/agent/summer-project:
  owner: workplace
  contact: workplace@corp.example
  framework: agent-runtime
  environments: [production]
  budget: office
  capabilities:
    mail.read: {granted_by: workplace}
"""
ENTRY = """- rule: {rule}
  direction: looser
  max_count: {count}
  owner: workplace
  reason: The summer project is an agent of ours now, with mail to read.
  expires: {day}
"""
SUMMER_AGENT = "spiffe://corp.example/agent/summer-project"
TOLD = ("identity.agent_unregistered", "capability.capability_not_granted")


@dataclass
class Origin:
    """A remote whose main decided the demo's plans, and a corpus of these decisions."""

    history: Recorded
    clone: Clone
    corpus: Path
    exported: ExportedCorpus

    def trace_of(self, scenario: str) -> str:
        return str(self.history.decided[scenario].details["trace_id"])


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    root = tmp_path_factory.mktemp("flow")
    shipped = starter()
    files = {**shipped, "gates.yaml": shipped["gates.yaml"] + b"rollout: {seconds: 0, decisions: 1}\n"}
    history = asyncio.run(record(root, times=2, files=files))

    async def export() -> ExportedCorpus:
        async with open_replaying(history) as made:
            return await made.export(Selection(), most=1000, key=b"k" * 32)

    exported = asyncio.run(export())
    corpus = root / "recent.ndjson.gz"
    write_corpus(corpus, {"left_out": dict(exported.left_out)}, exported.decisions)
    return Origin(history, Clone.of(history.policy, root), corpus, exported)


@pytest.fixture
def clone(origin: Origin, tmp_path: Path) -> Clone:
    return origin.clone.again(tmp_path / "mine")


def impact(clone: Clone, origin: Origin, *more: str, base: str = "origin/main") -> tuple[int, dict[str, Any], str]:
    """Run 'aisecops policy impact' on a clone, as continuous integration does: without a control plane."""
    line = ("policy", "impact", "--base", base, "--corpus", str(origin.corpus), "-o", "json", "--no-cost", *more)
    done = subprocess.run(
        [sys.executable, "-m", "aisecops_server", *line],
        cwd=clone.path,
        env={"PATH": os.environ["PATH"], "HOME": str(clone.path), "AISECOPS_ENGINE_PATH": str(opa_binary())},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else {}, done.stderr + done.stdout


def codes(document: dict[str, Any]) -> set[str]:
    return {problem["code"] for problem in document["problems"] if problem["level"] == "error"}


def test_a_change_goes_from_its_branch_through_refusal_to_its_merge(origin: Origin, clone: Clone) -> None:
    clone.branch("register-summer-project")
    clone.write({"data/agents.yaml": clone.text("data/agents.yaml") + SUMMER})
    clone.commit("Register the summer project")
    assert errors(checked(clone.path, base="origin/main")) == []

    code, document, told = impact(clone, origin, "--report", "markdown=impact.md", "--report", "html=impact.html")
    assert code == ExitCode.REPLAY_CHANGED, told
    assert (document["trustworthy"], document["flips"], document["looser"], document["risky"]) == (True, 2, 2, 2)
    assert codes(document) == {"flips.risky"}
    assert {problem["subject"] for problem in document["problems"]} == set(TOLD)
    assert [(each["rule"], each["looser"]) for each in document["rules"]] == [(rule, 2) for rule in sorted(TOLD)]
    assert [each["tenant"] for each in document["tenants"]] == ["default"]
    [group] = [each for each in document["groups"] if each["before"] == "DENY"]
    assert (group["after"], group["count"], len(group["examples"])) == ("ALLOW", 2, 2)
    assert any(
        "together it is row added agents.spiffe://corp.example/agent/summer-project" in line for line in group["why"]
    )
    markdown = (clone.path / "impact.md").read_text(encoding="utf-8")
    assert markdown.startswith("## Impact on recorded decisions: not yet\n\n**2 of ")
    assert "2 recorded denials by identity.agent\\_unregistered (critical) would be allowed" in markdown
    page = (clone.path / "impact.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "default-src 'none'" in page

    day = checked_day(origin)
    clone.write({"accepted-flips.yaml": "".join(ENTRY.format(rule=rule, count=2, day=day) for rule in TOLD)})
    clone.commit("Accept what the summer project may do now")
    code, document, told = impact(clone, origin, "--samples", "0")
    assert (code, document["passed"], document["accepted"]) == (ExitCode.OK, True, 2), told
    assert errors(checked(clone.path, base="origin/main")) == []

    clone.work.git("switch", "--quiet", "--force-create", "main", "origin/main")
    clone.work.git("merge", "--quiet", "--no-ff", "--message", "Merge the summer project", "register-summer-project")
    clone.work.git("push", "--quiet", "origin", "HEAD:refs/heads/merged")
    # What was merged accepts nothing any more: the next change that flips so says it itself.
    clone.work.git("fetch", "--quiet", "origin")
    clone.branch("next", "origin/merged")
    code, document, told = impact(clone, origin, "--samples", "0", base="origin/merged")
    assert (code, document["flips"]) == (ExitCode.OK, 0), told
    assert {problem["code"] for problem in document["problems"]} == {"flips.old"}

    asyncio.run(rolled_out(clone.remote))


async def rolled_out(remote: Path) -> None:
    """Bring what was merged to agents: it watches, decides for the summer project, decides for all, and is taken back.

    The repository follows main, which the merge is a branch of, so that nothing becomes live by itself.
    """
    order = Order("ada", "the summer project begins")
    with tempfile.TemporaryDirectory(prefix="flow-") as state:
        settings = Settings(
            state_dir=Path(state),
            engine_path=opa_binary(),
            repository=str(remote),
            deadline_milliseconds=10_000,
            poll_seconds=3600,
        )
        async with running(settings, agent=SUMMER_AGENT) as (plane, client):
            assert plane.rollouts is not None
            base = plane.live.current().bundle.revision

            async def decide() -> tuple[str, str]:
                told = (await client.decide(mail())).decision
                return Outcome.Name(told.outcome), told.bundle_revision

            started = await plane.rollouts.start(StartCommand("merged", order))
            merged = started.rollout.candidate.revision
            assert await decide() == ("OUTCOME_DENY", base)
            shadow = await compared(plane.rollouts, 1)
            assert (shadow.tally.looser, shadow.tally.risky, shadow.problems) == (1, 1, ())
            assert {rule for rule, _ in shadow.tally.rules} == set(TOLD)
            await plane.rollouts.canary(Selector(agents=(SUMMER_AGENT,)), order)
            assert await decide() == ("OUTCOME_ALLOW", merged)
            assert (await compared(plane.rollouts, 2)).problems == ()
            await plane.rollouts.promote(order)
            assert await decide() == ("OUTCOME_ALLOW", merged)
            await plane.rollouts.rollback(order)
            assert await decide() == ("OUTCOME_DENY", base)


async def compared(rollouts: Rollouts, count: int) -> RolloutStatus:
    """Return the status once so many decisions were compared."""
    async with asyncio.timeout(120):
        while True:
            status = await rollouts.status()
            assert status is not None
            if status.tally.compared >= count:
                return status
            await asyncio.sleep(0.05)


def mail() -> ExecutionPlan:
    """Return a plan of the summer project."""
    builder = PlanBuilder(intent="Summarise the inbox.", environment="production")
    prompt = builder.source("user_prompt", "Summarise my mails about contracts.", id="request")
    builder.step("workspace/search_emails", {"query": "contracts"}, influenced_by=[prompt])
    return builder.build()


def checked_day(origin: Origin) -> str:
    """Return the last day of this month's decisions, which has not passed and is not far."""
    at = max(each.decided_at_micros for each in origin.exported.decisions) / 1e6
    return (datetime.fromtimestamp(at, tz=UTC) + timedelta(days=30)).date().isoformat()


def test_fewer_accepted_than_flip_is_not_enough(origin: Origin, clone: Clone) -> None:
    clone.branch("too-few")
    entries = "".join(ENTRY.format(rule=rule, count=1, day=checked_day(origin)) for rule in TOLD)
    clone.write({"data/agents.yaml": clone.text("data/agents.yaml") + SUMMER, "accepted-flips.yaml": entries})
    code, document, told = impact(clone, origin, "--samples", "0")
    assert (code, codes(document)) == (ExitCode.REPLAY_CHANGED, {"flips.exceeded", "flips.risky"}), told


def test_nobody_opens_their_own_gates(origin: Origin, clone: Clone) -> None:
    clone.branch("strict")
    gates = clone.text("gates.yaml")
    clone.write({"gates.yaml": gates.replace("most_flips: 20", "most_flips: 1")})
    clone.commit("One flip needs no word")
    clone.branch("open", "origin/strict")
    limits = clone.text("data/approvals.yaml").replace(*REFUND_LIMIT)
    clone.write({"data/approvals.yaml": limits, "gates.yaml": gates.replace("most_flips: 20", "most_flips: 1000")})
    code, document, told = impact(clone, origin, "--samples", "0", base="origin/strict")
    assert (code, codes(document), document["stricter"]) == (ExitCode.REPLAY_CHANGED, {"flips.budget"}, 2), told
    assert document["problems"][0]["hint"].startswith("Mend the change, or add to accepted-flips.yaml: rule: approval.")


def test_who_branched_off_before_a_gate_was_closed_passes_the_closed_one(origin: Origin, clone: Clone) -> None:
    clone.branch("early")
    clone.write({"data/approvals.yaml": clone.text("data/approvals.yaml").replace(*REFUND_LIMIT)})
    clone.commit("Look at refunds from 50 on")
    clone.branch("closed")
    clone.write({"gates.yaml": clone.text("gates.yaml").replace("most_flips: 20", "most_flips: 1")})
    clone.commit("One flip needs no word")
    clone.branch("early", "origin/early")
    code, document, told = impact(clone, origin, "--samples", "0", base="origin/closed")
    assert (code, codes(document), document["stricter"]) == (ExitCode.REPLAY_CHANGED, {"flips.budget"}, 2), told


def test_who_branched_off_before_an_entry_was_merged_has_no_use_of_it(origin: Origin, clone: Clone) -> None:
    entries = "".join(ENTRY.format(rule=rule, count=2, day=checked_day(origin)) for rule in TOLD)
    clone.branch("merged-entries")
    clone.write({"accepted-flips.yaml": entries})
    clone.commit("Accept the flips of another change")
    clone.branch("late")
    clone.write({"data/agents.yaml": clone.text("data/agents.yaml") + SUMMER, "accepted-flips.yaml": entries})
    code, document, told = impact(clone, origin, "--samples", "0", base="origin/merged-entries")
    assert (code, codes(document)) == (ExitCode.REPLAY_CHANGED, {"flips.risky"}), told
    assert {problem["code"] for problem in document["problems"]} == {"flips.risky", "flips.old"}


def test_a_tag_with_the_name_of_the_base_opens_no_gate(origin: Origin, clone: Clone) -> None:
    clone.branch("open")
    clone.write({"gates.yaml": clone.text("gates.yaml").replace("severity: high", "severity: critical")})
    opened = clone.commit("Open the gates")
    clone.write({"data/agents.yaml": clone.text("data/agents.yaml") + SUMMER})
    # As a machine of continuous integration has it: no branch main of its own.
    clone.work.git("branch", "--quiet", "--delete", "--force", "main")
    clone.work.git("tag", "main", opened)
    code, document, told = impact(clone, origin, base="main")
    assert (code, document["error"]["reason"]) == (ExitCode.NOT_FOUND, "UNKNOWN_REVISION"), told
    assert "several commits" in document["error"]["message"]


def test_a_protected_trace_never_flips_whatever_is_accepted(origin: Origin, clone: Clone) -> None:
    [trace] = {each.text("trace_id") for each in origin.exported.decisions if _is_small_refund(each.content)} & {
        origin.trace_of(scenario) for scenario in origin.history.decided
    }
    clone.branch("protected")
    clone.write(
        {"gates.yaml": clone.text("gates.yaml").replace("protected_traces: []", f"protected_traces: [{trace}]")}
    )
    clone.commit("This refund stays as it is")
    clone.branch("limits", "origin/protected")
    entry = ENTRY.format(rule="approval.amount_over_limit", count=9, day=checked_day(origin)).replace(
        "looser", "stricter"
    )
    limits = clone.text("data/approvals.yaml").replace(*REFUND_LIMIT)
    clone.write({"data/approvals.yaml": limits, "accepted-flips.yaml": entry})
    code, document, told = impact(clone, origin, "--samples", "0", base="origin/protected")
    assert (code, codes(document)) == (ExitCode.REPLAY_CHANGED, {"flips.protected"}), told
    assert document["problems"][0]["subject"] == trace


def _is_small_refund(document: Any) -> bool:
    steps = document["plan"]["steps"]
    return any(step["arguments"].get("amount") == 64 for step in steps)


def test_a_change_without_a_meaning_flips_nothing_and_needs_no_evaluation(origin: Origin, clone: Clone) -> None:
    clone.branch("words")
    clone.write({"data/approvals.yaml": "# A word more.\n" + clone.text("data/approvals.yaml")})
    code, document, told = impact(clone, origin)
    assert (code, document["flips"], document["changes"]) == (ExitCode.OK, 0, []), told


def test_a_corpus_says_nothing_that_the_policy_does_not_say(origin: Origin) -> None:
    text = json.dumps([each.content for each in origin.exported.decisions])
    for private in ("lindt", "Lindt", "rescue", "mara", "INV-2041"):
        assert private not in text
    assert "crm/issue_refund" in text
    assert "spiffe://corp.example/agent/support-assistant" in text
    assert len(origin.exported.decisions) >= 30


def test_a_corpus_that_somebody_changed_cannot_be_trusted(origin: Origin, clone: Clone, tmp_path: Path) -> None:
    history = read_corpus(origin.corpus)
    changed = [
        each if number else type(each)(each.index, {**each.details, "outcome": "DENY"}, each.document, each.content)
        for number, each in enumerate(history.decisions)
    ]
    other = tmp_path / "other.ndjson"
    write_corpus(other, {}, changed)
    clone.branch("forged")
    clone.write({"data/approvals.yaml": clone.text("data/approvals.yaml").replace(*REFUND_LIMIT)})
    forged = Origin(origin.history, origin.clone, other, origin.exported)
    code, document, told = impact(clone, forged, "--samples", "0")
    assert (code, document["trustworthy"]) == (ExitCode.UNVERIFIED, False), told
    assert "impact.not-trustworthy" in codes(document)


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b'{"corpus_version":1}\nnonsense\n', b'{"corpus_version":1}\n{"details":1}\n']
)
def test_what_is_no_corpus_is_refused(origin: Origin, clone: Clone, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "no.ndjson"
    file.write_bytes(content)
    other = Origin(origin.history, origin.clone, file, origin.exported)
    code, document, _ = impact(clone, other)
    assert code == ExitCode.USAGE
    assert document["error"]["metadata"]["field"] == "corpus"
