"""Screening never turns a strange answer, a strange redaction or a missing record into a text that may be used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.errors import (
    AisecopsError,
    EngineUnavailableError,
    InvalidRequestError,
    NoDecisionError,
    SealedError,
)
from aisecops_server.domain.formats.canonical import digest
from aisecops_server.domain.plans.plan import TraceId
from aisecops_server.domain.screening.screen_document import ScreenDocument
from aisecops_server.domain.screening.text_parts import PartDraft, ScreeningDraft, TextDirection, build_screening
from aisecops_server.usecases.decisions.screen import Screen, ScreenCommand, Screened

from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.policy_engine import REVISION, fake_bundle
from tests.fakes.verdicts import whole

TEXT = "Mail ada@example.org about it."
PRINCIPAL = Principal(PrincipalId("spiffe://example.org/agent/a"), "token", frozenset({Role.AGENT}))


def allowed(**other: Any) -> dict[str, Any]:
    return whole({"outcome": "ALLOW", "findings": [], "steps": [{"id": "p1", "outcome": "ALLOW"}], **other})


def redact(*ranges: object, step: str = "p1") -> dict[str, Any]:
    return {"kind": "redact", "step": step, "parameters": {"ranges": list(ranges)}}


def place(start: object, end: object, replacement: object = "x") -> dict[str, object]:
    return {"start": start, "end": end, "replacement": replacement}


@dataclass
class Engine:
    """Answers with ``result``, or fails."""

    result: object
    failure: Exception | None = None
    revision: str = REVISION
    bundle: Bundle = field(default_factory=fake_bundle)
    documents: list[bytes] = field(default_factory=list)
    gate: asyncio.Event | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def evaluate(self, document: bytes, *, deadline_seconds: float) -> Verdict:
        self.documents.append(document)
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return Verdict(self.result, self.revision, "1.22.2", 5)

    def current(self) -> Engine:
        return self


def screen(engine: Engine, log: MemoryEventLog | None = None) -> tuple[Screen, MemoryEventLog]:
    log = log or MemoryEventLog()
    return Screen(engine, log, FakeClock(), RandomIds(), deadline_seconds=1.0), log


def command(text: str = TEXT, *, keep_text: bool = False) -> ScreenCommand:
    draft = ScreeningDraft(TextDirection.PROMPT, (PartDraft("p1", text),), keep_text=keep_text)
    return ScreenCommand(PRINCIPAL, build_screening(draft, TraceId("7" * 32)))


def run(engine: Engine, asked: ScreenCommand | None = None) -> tuple[Screened, MemoryEventLog]:
    use_case, log = screen(engine)
    return asyncio.run(use_case(asked or command())), log


def test_what_is_redacted_overlapping_or_beside_is_redacted_once() -> None:
    answer = allowed(obligations=[redact(place(5, 10), place(8, 20, "y"), place(20, 21, ""))])
    screened, _ = run(Engine(answer))
    assert screened.texts == {"p1": "Mail xabout it."}


@pytest.mark.parametrize(
    "obligation",
    [
        redact(place(0, 99)),
        redact(place(-1, 3)),
        redact(place(5, 5)),
        redact(place(9, 3)),
        redact(place(0.0, 3)),
        redact(place(True, 3)),
        redact(place("0", 3)),
        redact(place(0, 3, None)),
        redact({}),
        redact("all"),
        redact(place(0, 3), step="p2"),
        redact(place(0, 3), step=""),
        {"kind": "redact", "step": "p1", "parameters": {}},
        {"kind": "redact", "step": "p1", "parameters": {"ranges": "all"}},
    ],
)
def test_a_redaction_that_cannot_be_made_is_no_decision(obligation: dict[str, object]) -> None:
    use_case, log = screen(Engine(allowed(obligations=[obligation])))
    with pytest.raises(NoDecisionError):
        asyncio.run(use_case(command()))
    assert [stored.event.type for stored in log.stored] == ["decision.refused"]
    assert log.records == []


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: None,
        lambda answer: {**answer, "steps": []},
        lambda answer: {**answer, "steps": [{**answer["steps"][0], "id": "p2"}]},
        lambda answer: {**answer, "outcome": "DENY"},
        lambda answer: {**answer, "outcome": "REQUIRE_APPROVAL"},
        lambda answer: {**answer, "findings": [{"effect": "deny"}]},
        lambda answer: {**answer, "obligations": None},
        lambda answer: "ALLOW",
        lambda answer: True,
    ],
)
def test_an_answer_that_is_not_exactly_a_decision_gives_no_text(change: Callable[[dict[str, Any]], object]) -> None:
    use_case, log = screen(Engine(change(allowed())))
    with pytest.raises(NoDecisionError):
        asyncio.run(use_case(command()))
    [refused] = log.stored
    assert refused.event.details()["outcome"] == "DENY"


def test_another_revision_than_the_one_asked_gives_no_text() -> None:
    use_case, _ = screen(Engine(allowed(), revision="b" * 40))
    with pytest.raises(NoDecisionError):
        asyncio.run(use_case(command()))


@pytest.mark.parametrize("failure", [EngineUnavailableError("gone"), NoDecisionError("undefined", why="undefined")])
def test_a_failing_engine_is_on_record_and_raised(failure: AisecopsError) -> None:
    use_case, log = screen(Engine(None, failure=failure))
    with pytest.raises(type(failure)):
        asyncio.run(use_case(command()))
    assert log.stored[0].event.details()["reason"] == failure.reason


def test_a_text_that_cannot_be_recorded_is_withheld() -> None:
    use_case, _ = screen(Engine(allowed()), MemoryEventLog(sealed="the disk is full"))
    with pytest.raises(SealedError):
        asyncio.run(use_case(command()))


@pytest.mark.asyncio
async def test_who_stops_waiting_is_on_record() -> None:
    engine = Engine(allowed(), gate=asyncio.Event())
    use_case, log = screen(engine)
    asked = asyncio.create_task(use_case(command()))
    await engine.asked.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert [stored.event.type for stored in log.stored] == ["decision.refused"]


def test_the_document_is_the_contract_s_and_holds_the_text_only_if_that_is_asked() -> None:
    for keep, text in ((False, None), (True, "Mail [personal.email] about it.")):
        engine = Engine(allowed())
        screened, log = run(engine, command(keep_text=keep))
        document = ScreenDocument.model_validate_json(engine.documents[0])
        assert document.parts[0].text == text
        assert document.parts[0].digest == digest(b"Mail [personal.email] about it.")
        assert log.records[0].document == engine.documents[0]
        assert screened.details["document_digest"] == digest(engine.documents[0])


def test_the_same_texts_of_the_same_agent_have_the_same_hash_and_others_another() -> None:
    hashes = [run(Engine(allowed()), command(text))[0].details["plan_hash"] for text in ("a", "a", "b")]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_rejected_request_is_on_record_without_a_text() -> None:
    use_case, log = screen(Engine(allowed()))
    asyncio.run(use_case.refuse(PRINCIPAL, InvalidRequestError("parts: too many", field="parts")))
    [stored] = log.stored
    assert (stored.event.type, stored.event.plan_id) == ("text.rejected", "")


def test_a_policy_that_only_tries_an_agent_gives_a_dry_run() -> None:
    screened, _ = run(Engine(allowed(mode="dry_run")))
    assert screened.details["mode"] == "DRY_RUN"
