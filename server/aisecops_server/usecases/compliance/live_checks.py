"""Checks of the control plane that runs: the log and its proofs, what was recorded, what is live, who may do what.

Each looks at something that could be otherwise, and says what it found. Where there is nothing to look at yet, it says
that, and has not passed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.compliance.compliance_state import Shown, Standing
from aisecops_server.domain.decisions.decision import Outcome, conclude
from aisecops_server.domain.documents.probe import probes
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.log.checkpoint import read_checkpoint
from aisecops_server.domain.log.merkle import is_included, leaf_hash
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.ports import BundleBuilder, PolicyRepository, ProvenLog
from aisecops_server.ports.assurance import LatestCheckpoint, ReadableLog
from aisecops_server.ports.replay import Engines
from aisecops_server.usecases.replays.check_fidelity import CheckFidelity
from aisecops_server.usecases.replays.sample_decisions import SampleDecisions

# What each looks at, in words for the table.
LIVE_CHECKS: Mapping[str, str] = {
    "log.writable": "the log takes events: it is not sealed",
    "log.committed": "the log still begins with what its last signed checkpoint committed to",
    "log.proves": "the latest events are in the log's tree, each by its own proof",
    "decisions.complete": "recorded decisions name trace, plan, commit, engine and reason, and have their document",
    "decisions.reproduce": "recorded decisions come out again on their own policy and engine",
    "policy.verified": "what is live is the signed bundle of a commit that the policy repository has",
    "policy.refuses_strangers": "the live policy denies agents that it does not know, whatever they call",
    "roles.separated": "who asks cannot agree, change policy or correct books, and who audits changes nothing",
}
PROVED_EVENTS = 64
SAMPLE = 50
_COMPLETE = ("decision_id", "trace_id", "plan_id", "bundle_revision", "bundle_digest", "engine_version", "explanation")
_READING = ("Get", "List", "Diff", "Plan", "Stream", "Watch", "Prove", "Export", "Explain", "Wait", "Check")
# A replay acts on nothing.
_REPLAYING = ("StartReplay", "CancelReplay", "CompareRevisions", "BisectDecisions")
_CHANGING = (
    *("Activate", "Rollback", "Sync", "AdjustBudget", "ReleaseReservation", "RevokeGrants", "Vote"),
    *("StartRollout", "SetCanary", "PromoteRollout", "RollBackRollout", "AbortRollout"),
)


@dataclass(frozen=True, slots=True)
class LivePart:
    """What is live: the bundle in force, or an error that nothing is, and where bundles and commits are found."""

    bundle: Callable[[], Bundle]
    builder: BundleBuilder
    repository: PolicyRepository


@dataclass(frozen=True, slots=True)
class LiveChecks:
    """Runs checks. It can read the log, history and policy and ask engines; ``roles`` are those of each call."""

    log: ReadableLog
    proofs: ProvenLog
    checkpoints: LatestCheckpoint
    sample: SampleDecisions
    fidelity: CheckFidelity
    engines: Engines
    live: LivePart
    roles: Mapping[str, Collection[Role]]
    deadline_seconds: float

    async def __call__(self, names: Collection[str]) -> dict[str, Shown]:
        """Return what became of the named checks; one that cannot be run has failed and says why."""
        return {name: await self._run(name) for name in names}

    async def _run(self, name: str) -> Shown:
        check: Callable[[], Awaitable[Shown]] = {
            "log.writable": self._writable,
            "log.committed": self._committed,
            "log.proves": self._proves,
            "decisions.complete": self._complete,
            "decisions.reproduce": self._reproduce,
            "policy.verified": self._verified,
            "policy.refuses_strangers": self._refuses,
            "roles.separated": self._separated,
        }[name]
        try:
            return await check()
        except AisecopsError as error:
            return Shown(name, Standing.FAILED, error.message)

    async def _writable(self) -> Shown:
        return _result("log.writable", self.log.sealed, "not sealed")

    async def _committed(self) -> Shown:
        note = await self.checkpoints.latest()
        if note is None:
            return Shown("log.committed", Standing.NOT_RUN, "no checkpoint was signed yet")
        committed = read_checkpoint(note.text).head
        same = await self.proofs.head_at(committed.size) == committed
        problem = "" if same else f"its first {committed.size} events are not those that were committed to"
        return _result("log.committed", problem, f"{committed.size} events, {len(note.signatures)} signatures")

    async def _proves(self) -> Shown:
        head = await self.proofs.head()
        first = max(0, head.size - PROVED_EVENTS)
        proved = 0
        async for stored in self.log.events(from_index=first, follow=False, trace_id=""):
            if stored.index >= head.size:
                break
            leaf, path = leaf_hash(stored.event.body), await self.proofs.inclusion(stored.index, size=head.size)
            if not is_included(leaf, stored.index, size=head.size, root=head.root, proof=path):
                return Shown("log.proves", Standing.FAILED, f"event {stored.index} is not in the log's tree")
            proved += 1
        return _result("log.proves", "", f"{proved} events proved") if proved else _nothing("log.proves")

    async def _complete(self) -> Shown:
        decisions = await self.sample(SAMPLE)
        if not decisions:
            return _nothing("decisions.complete")
        problems = [problem for decision in decisions if (problem := _incomplete(decision))]
        return _result("decisions.complete", "; ".join(problems[:3]), f"{len(decisions)} decisions looked at")

    async def _reproduce(self) -> Shown:
        checks = await self.fidelity(await self.sample(SAMPLE))
        if not checks:
            return _nothing("decisions.reproduce")
        doubts = [f"{check.decision_id}: {check.doubt}" for check in checks if check.doubt is not None]
        return _result("decisions.reproduce", "; ".join(doubts[:3]), f"{len(checks)} decisions made again")

    async def _verified(self) -> Shown:
        bundle = self.live.bundle()
        commit = await self.live.repository.commit(bundle.revision)
        stored = await self.live.builder.exact(bundle.revision, bundle.digest)
        problem = "" if stored else f"the bundle of {bundle.revision[:12]} is not stored whole and signed"
        return _result("policy.verified", problem, f"{commit.id[:12]} by {commit.author}")

    async def _refuses(self) -> Shown:
        bundle = self.live.bundle()
        engine = await self.engines.acquire(bundle, engine=self.engines.engine)
        asked = probes(bundle.tools)
        answers = await engine.evaluate_batch(
            [probe.document for probe in asked], deadline_seconds=self.deadline_seconds * len(asked)
        )
        for probe, answer in zip(asked, answers, strict=True):
            if isinstance(answer, AisecopsError):
                return Shown("policy.refuses_strangers", Standing.FAILED, f"{probe.name}: {answer.message}")
            concluded = conclude(answer, step_ids=probe.step_ids, expected_revision=bundle.revision)
            if concluded.outcome is not Outcome.DENY:
                return Shown("policy.refuses_strangers", Standing.FAILED, f"{probe.name}: {concluded.outcome}")
        return Shown("policy.refuses_strangers", Standing.PASSED, f"{len(asked)} probes denied")

    async def _separated(self) -> Shown:
        problems = [problem for call, roles in sorted(self.roles.items()) for problem in _overlaps(call, roles)]
        return _result("roles.separated", "; ".join(problems), f"{len(self.roles)} calls looked at")


def _incomplete(decision: RecordedDecision) -> str:
    if decision.doubt is not None:
        return f"{decision.decision_id}: {decision.doubt}"
    missing = [name for name in _COMPLETE if not decision.text(name)]
    # A decision about texts has no plan.
    missing = [name for name in missing if name != "plan_id" or decision.tools]
    return f"{decision.decision_id} lacks {', '.join(missing)}" if missing else ""


def _overlaps(call: str, roles: Collection[Role]) -> list[str]:
    name = call.rpartition("/")[2]
    asking = {Role.AGENT, Role.APP, Role.TOOL} & set(roles)
    found = [f"{role} may {name}" for role in sorted(asking)] if name in _CHANGING else []
    if name == "Vote" and Role.PLATFORM in roles:
        found.append(f"{Role.PLATFORM} may {name}")
    if Role.AUDITOR in roles and not name.startswith(_READING) and name not in _REPLAYING and "Keys" not in name:
        found.append(f"{Role.AUDITOR} may {name}")
    return found


def _result(name: str, problem: str, detail: str) -> Shown:
    return Shown(name, Standing.FAILED if problem else Standing.PASSED, problem or detail)


def _nothing(name: str) -> Shown:
    return Shown(name, Standing.NOT_RUN, "nothing is recorded yet")
