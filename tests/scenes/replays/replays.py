"""A recorded history of real decisions, for tests that replay it: the demo's plans, decided on a real engine."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aisecops.v1 import decision_service_pb2
from aisecops_server.adapters.git.create import commit_files, create_policy_repository
from aisecops_server.adapters.opa.binary import PINNED_VERSION
from aisecops_server.adapters.sqlite.event_log import open_log
from aisecops_server.bootstrap.control_plane import compose
from aisecops_server.bootstrap.replay import Replaying, replaying
from aisecops_server.demo.change import MESSAGE, TABLE, edited
from aisecops_server.demo.scenario import Scenario, scenarios
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.formats.canonical import canonical_bytes, digest
from aisecops_server.domain.plans.plan_builder import Fresh, build_plan
from aisecops_server.domain.replays.replay import ReplayRecord, Selection
from aisecops_server.domain.screening.text_parts import PartDraft, ScreeningDraft, TextDirection, build_screening
from aisecops_server.entrypoints.grpc.plan_codec import draft_of
from aisecops_server.settings import Settings
from aisecops_server.usecases.decisions.decide import DecideCommand, Decided
from aisecops_server.usecases.decisions.screen import ScreenCommand
from aisecops_server.usecases.replays.judge_decisions import Thoroughness
from aisecops_server.usecases.replays.resolve_policy import WantedPolicy
from aisecops_server.usecases.replays.run_replays import ReplayCommand

from tests.scenes.log.records import Records
from tests.support import opa_binary

AT = 1_790_000_000


@dataclass
class Recorded:
    """A state directory with decisions on record, and the policy repository that they were made with."""

    root: Path
    settings: Settings
    first: str
    decided: dict[str, Decided] = field(default_factory=dict)
    commits: int = 0
    forged: int = 0
    screened: str = ""

    @property
    def policy(self) -> Path:
        return self.root / "policy"

    def commit(self, files: Mapping[str, bytes], message: str = "change") -> str:
        """Commit files on the followed branch and return the commit."""
        self.commits += 1
        return commit_files(self.policy, files, message=message, at_seconds=AT + self.commits)

    def text(self, path: str) -> str:
        return (self.policy / path).read_text(encoding="utf-8")

    def edit_limits(self) -> str:
        """Make the demo's change: one table, one flip each way."""
        return self.commit({TABLE: edited(self.text(TABLE)).encode()}, MESSAGE)

    def decision(self, scenario: str) -> str:
        return str(self.decided[scenario].details["decision_id"])


def settings_in(root: Path, engine: Path | None = None) -> Settings:
    return Settings(
        state_dir=root / "s",
        engine_path=engine or opa_binary(),
        engine_dir=root / "engines",
        repository=str(root / "policy"),
        deadline_milliseconds=10_000,
        poll_seconds=3600,
    )


async def record(
    root: Path, *, times: int = 1, only: Sequence[str] = (), files: Mapping[str, bytes] | None = None
) -> Recorded:
    """Decide the demo's plans, ``times`` over, on the shipped policy or ``files``, and stop the control plane again."""
    first = create_policy_repository(root / "policy", at_seconds=AT, files=files)
    recorded = Recorded(root, settings_in(root), first)
    cast = [scenario for scenario in scenarios() if not only or scenario.id in only]
    async with compose(recorded.settings) as plane:
        await plane.policy.sync()
        for _ in range(times):
            commands = [_command(scenario, plane) for scenario in cast]
            answers = [await plane.decide(command) for command in commands]
            recorded.decided = {scenario.id: answer for scenario, answer in zip(cast, answers, strict=True)}
    return recorded


def _command(scenario: Scenario, plane: object) -> DecideCommand:
    ids = plane.ids  # type: ignore[attr-defined]
    draft = draft_of(decision_service_pb2.DecideRequest(plan=scenario.plan))
    return DecideCommand(
        principal=Principal(PrincipalId(scenario.agent), "token", frozenset({Role.AGENT})),
        plan=build_plan(draft, Fresh(ids.trace_id(), ids.plan_id())),
        mode=Mode.ENFORCE,
        idempotency_key="",
        request_digest="",
    )


async def forge(
    recorded: Recorded,
    scenario: str,
    *,
    details: Mapping[str, object] | None = None,
    without: Sequence[str] = (),
    document: Callable[[dict[str, Any]], object] | None = None,
) -> str:
    """Append to the log what nobody decided: a copy of a decision, changed. Return its id."""
    told = dict(recorded.decided[scenario].details)
    log = open_log(recorded.settings.log_path)
    try:
        stored = await log.decision(str(told["decision_id"]))
        content = json.loads(stored.document)
        if document is not None:
            document(content)
        body = canonical_bytes(content)
        forged = Records(f"forged-{recorded.forged}-").record(
            agent=str(told["principal"]["id"]),
            document=body,
            revision=str(told["bundle_revision"]),
            details={**told, "document_digest": digest(body), **(details or {})},
        )
        recorded.forged += 1
        outcome = json.loads(forged.events[-1].body)
        kept = {name: value for name, value in outcome["details"].items() if name not in without}
        kept |= {"decision_id": forged.decision.id, "trace_id": forged.decision.trace_id}
        last = replace(forged.events[-1], body=canonical_bytes({**outcome, "details": kept}))
        await log.append(replace(forged, events=(*forged.events[:-1], last)))
    finally:
        await log.close()
    return str(forged.decision.id)


def other_version(engine: Path, version: str) -> Path:
    """Write a copy of the real engine that calls itself another version of the same length, and return it."""
    real = opa_binary().read_bytes()
    assert len(version) == len(PINNED_VERSION)
    engine.parent.mkdir(parents=True, exist_ok=True)
    engine.write_bytes(real.replace(PINNED_VERSION.encode(), version.encode()))
    engine.chmod(0o755)
    return engine


@asynccontextmanager
async def open_replaying(recorded: Recorded, **options: object) -> AsyncIterator[Replaying]:
    async with replaying(recorded.settings, **options) as made:
        yield made


def copy_of(recorded: Recorded, root: Path) -> Recorded:
    """Copy a history, so that what a test does to it, and what its replays remember, is the test's alone."""
    shutil.copytree(recorded.root, root, ignore=shutil.ignore_patterns("run", "replay"))
    settings = recorded.settings.model_copy(
        update={"state_dir": root / "s", "engine_dir": root / "engines", "repository": str(root / "policy")}
    )
    return replace(recorded, root=root, settings=settings)


async def replayed(
    made: Replaying,
    candidate: WantedPolicy,
    *,
    selection: Selection | None = None,
    baseline: WantedPolicy | None = None,
    thoroughness: Thoroughness = Thoroughness.AS_NEEDED,
) -> ReplayRecord:
    """Replay to the end and return what came of it."""
    command = ReplayCommand(selection or Selection(), candidate, "tester", baseline, thoroughness)
    started = await made.runs.start(command)
    async with asyncio.timeout(110):
        async for last in made.runs.watch(started.id):
            record_ = last
    return record_


def classes(record: ReplayRecord) -> dict[str, int]:
    """Return the counts of a finished replay's classes that are not zero."""
    assert record.report is not None, record.problem
    return {entry["verdict_class"]: entry["count"] for entry in record.report["classes"] if entry["count"]}


async def screen(recorded: Recorded, text: str, *, agent: str) -> None:
    """Have a prompt screened on the live policy, and keep the decision's id."""
    async with compose(recorded.settings) as plane:
        await plane.policy.sync()
        draft = ScreeningDraft(TextDirection.PROMPT, (PartDraft("p1", text),))
        screening = build_screening(draft, plane.ids.trace_id())
        principal = Principal(PrincipalId(agent), "token", frozenset({Role.AGENT}))
        screened = await plane.screen(ScreenCommand(principal=principal, screening=screening))
    recorded.screened = str(screened.details["decision_id"])


async def program(history: Recorded, *line: str, token: str = "") -> tuple[int, str, str]:
    """Run the command line on the state directory and return exit code, output and talk."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(history.root),
        "AISECOPS_STATE_DIR": str(history.settings.state_dir),
        "AISECOPS_REPOSITORY": history.settings.repository,
        "AISECOPS_ENGINE_PATH": str(history.settings.engine_path),
        "AISECOPS_DEADLINE_MILLISECONDS": "10000",
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
    }
    if token:
        (history.root / "token").write_text(token)
        line = (*line, "--token-file", str(history.root / "token"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aisecops_server", *line),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()
