"""A long history of real decisions to replay: recorded agent calls, decided on the shipped policy, under many ids.

Every call of the recorded traces is decided once by the control plane itself. Then its record is repeated with other
ids of trace, plan and decision until the log is as long as is wanted: each document is another one, byte for byte, and
each decision is what the engine said of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aisecops_server.adapters.git.create import create_policy_repository
from aisecops_server.adapters.recordings.spans import ToolServers
from aisecops_server.adapters.recordings.trace_file import RecordingFile
from aisecops_server.adapters.sqlite.event_log import open_log
from aisecops_server.adapters.sqlite.history import open_history
from aisecops_server.adapters.sqlite.recorded_traces import SqliteRecordedTraces
from aisecops_server.bootstrap.control_plane import compose
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import (
    Conclusion,
    Decision,
    DecisionId,
    Effect,
    Finding,
    Mode,
    Outcome,
    PolicyMode,
    Severity,
)
from aisecops_server.domain.events.event import EventId, Stage, make_event
from aisecops_server.domain.formats.canonical import canonical_bytes, digest
from aisecops_server.domain.log.record import DecisionRecord
from aisecops_server.domain.plans.plan import PlanId, SessionId, TraceId
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.domain.replays.replay import Selection
from aisecops_server.settings import Settings
from aisecops_server.usecases.recordings.evaluate_traces import EvaluateTraces
from aisecops_server.usecases.recordings.import_traces import ImportTraces

_PART = 512
_AT = 1_790_000_000


def settings_in(root: Path) -> Settings:
    """Return settings of a control plane in ``root`` that uses the engine of the tests."""
    return Settings(
        state_dir=root / "s",
        repository=str(root / "policy"),
        engine_path=Path(os.environ["AISECOPS_OPA"]),
        poll_seconds=3600,
        max_engines=6,
    )


async def record(root: Path, traces: Path, *, documents: int) -> Settings:
    """Fill a state directory with ``documents`` decisions and return its settings."""
    create_policy_repository(root / "policy", at_seconds=_AT)
    settings = settings_in(root)
    await _decide(settings, traces)
    await _repeat(settings, documents)
    return settings


async def _decide(settings: Settings, traces: Path) -> None:
    async with compose(settings) as plane:
        await plane.policy.sync()
        store = SqliteRecordedTraces(settings.state_dir / "traces.db")
        for path in _files(traces):
            servers = ToolServers(otherwise=path.name.partition(".")[0])
            await ImportTraces(store)(RecordingFile(path, servers).read())
        await EvaluateTraces(store, plane.decide, plane.live)()
        await store.close()


def _files(traces: Path) -> list[Path]:
    found = sorted(traces.glob("*.otlp.jsonl*"))
    if not found:
        raise SystemExit(f"{traces} holds no recorded traces (NAME.otlp.jsonl or NAME.otlp.jsonl.gz)")
    return found


async def _repeat(settings: Settings, documents: int) -> None:
    history = open_history(settings.log_path)
    until = (await history.head()).size
    places = await history.places(Selection(), after=None, limit=documents, until=until)
    samples = await history.read(places)
    await history.close()
    log = open_log(settings.log_path)
    made = len(samples)
    copies = _copies(samples)
    while made < documents:
        part = [next(copies) for _ in range(min(_PART, documents - made))]
        await log.append_many(part)
        made += len(part)
    await log.close()


def _copies(samples: Sequence[RecordedDecision]) -> Iterator[DecisionRecord]:
    number = 0
    while True:
        for sample in samples:
            number += 1
            yield _copy(sample, number)


def _copy(sample: RecordedDecision, number: int) -> DecisionRecord:
    content: dict[str, Any] = json.loads(sample.document)
    trace_id, plan_id, decision_id = digest(f"trace {number}".encode())[:32], f"plan-{number}", f"dec-{number:024x}"
    content["trace"]["id"], content["plan"]["id"] = trace_id, plan_id
    document = canonical_bytes(content)
    ids = {"decision_id": decision_id, "trace_id": trace_id, "plan_id": plan_id}
    details: dict[str, Any] = {**sample.details, **ids, "document_digest": digest(document)}
    event = make_event(
        **ids,
        id=EventId(f"evt-{number:024x}"),
        stage=Stage.OUTCOME,
        type="decision.concluded",
        occurred_at_ns=details["decided_at_micros"] * 1000,
        details=details,
    )
    return DecisionRecord(
        decision=_decision(details, sample),
        document=document,
        events=(event,),
        idempotency=None,
        agent_id=sample.agent_id,
        intent="",
        tools=sample.tools,
        lowest_trust="unverified",
    )


def _decision(details: dict[str, Any], sample: RecordedDecision) -> Decision:
    """Return as much of a decision as the log's index needs; what counts is in the event."""
    outcome = Outcome(details["outcome"])
    findings = tuple(
        Finding(rule, "", "", Effect.WARN, Effect.WARN, Severity.LOW, "", (), remedy="") for rule in sample.rules
    )
    return Decision(
        id=DecisionId(details["decision_id"]),
        trace_id=TraceId(details["trace_id"]),
        plan_id=PlanId(details["plan_id"]),
        session_id=SessionId(""),
        mode=Mode(details["mode"]),
        conclusion=Conclusion(outcome, outcome, PolicyMode.ENFORCE, findings, (), (), (), 0, (), None, approved_by=""),
        principal=Principal(PrincipalId(sample.agent_id), "recorded", frozenset({Role.AGENT})),
        bundle_revision=details["bundle_revision"],
        bundle_digest=details["bundle_digest"],
        engine_version=details["engine_version"],
        document_digest=details["document_digest"],
        plan_hash=details["plan_hash"],
        decided_at_ns=details["decided_at_micros"] * 1000,
        evaluation_ns=details["evaluation_ns"],
    )
