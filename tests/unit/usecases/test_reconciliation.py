"""An edge's log comes to the centre whole: in order, once, without gaps, whatever is lost, repeated or rewritten."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.signing.grants import TimedGrantKeys, key_set_of
from aisecops_server.adapters.signing.key_files import KeyFiles
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.errors import (
    IntegrityError,
    InvalidRequestError,
    NotPermittedError,
    RecordsRefusedError,
    RepositoryUnavailableError,
    SealedError,
)
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.log.edge_log import edge_event
from aisecops_server.domain.log.key_rotation import KeyUse, Rotation, SignedRotation, rotated_event
from aisecops_server.ports.edges import Batch
from aisecops_server.usecases.edges import forward_log
from aisecops_server.usecases.log.checkpoint import CheckpointKeys
from aisecops_server.usecases.log.rotate_key import FollowKeys, RotateKeys

from tests.fakes.clock import FakeClock
from tests.fault.log_copies import verified
from tests.scenes.log.records import Records
from tests.scenes.planes.reconciling import EDGE, KEYS, OTHER, Pair, pair, received

EVENTS = 6


async def decided(found: Pair, records: Records, count: int = 1) -> None:
    await found.edge.append_many([records.record() for _ in range(count)])


async def require_whole(found: Pair) -> None:
    """The centre has every event of the edge, once, in its order, and its log verifies."""
    assert [canonical_bytes(event) for event in await found.recorded()] == await found.bodies()
    report = await found.centre.verify()
    assert report.ok, report.problem
    [known] = [edge for edge in await found.centre.edges.edges() if edge.edge_id == EDGE]
    assert known.head() == await found.edge.head()


@pytest.mark.asyncio
async def test_what_an_edge_recorded_is_recorded_once_in_order_and_only_what_is_new_is_sent(tmp_path: Path) -> None:
    records = Records()
    async with pair(tmp_path) as found:
        await found.edge.append_event(records.control_event())
        await decided(found, records, 3)
        head = await found.forward()
        assert head == await found.edge.head()
        await require_whole(found)
        await found.forward()
        assert len(found.way.sent) == 1
        await decided(found, records)
        await found.forward()
        assert found.way.sent[-1].start == head.size
        await require_whole(found)
        assert await found.kinds() == ["edge.enrolled"]


@pytest.mark.asyncio
async def test_a_long_queue_goes_in_bounded_batches(tmp_path: Path) -> None:
    async with pair(tmp_path) as found:
        await decided(found, Records(), 100)
        large = Records("large").record(intent="x" * (forward_log.MOST_BYTES - 1000))
        await found.edge.append(large)
        await found.forward()
        assert len(found.way.sent) > 3
        assert all(len(batch.events) <= forward_log.MOST_EVENTS for batch in found.way.sent)
        await require_whole(found)


@pytest.mark.asyncio
async def test_an_answer_that_is_lost_makes_nothing_recorded_twice(tmp_path: Path) -> None:
    records = Records()
    async with pair(tmp_path) as found:
        await decided(found, records, 2)
        found.way.lost_answers = 1
        with pytest.raises(RepositoryUnavailableError):
            await found.forward()
        await decided(found, records)
        await found.forward()
        await require_whole(found)


@pytest.mark.asyncio
async def test_while_the_centre_cannot_be_reached_the_edge_records_on_and_everything_is_sent_later(
    tmp_path: Path,
) -> None:
    records = Records()
    async with pair(tmp_path) as found:
        await decided(found, records)
        await found.forward()
        found.way.down = True
        await decided(found, records, 5)
        with pytest.raises(RepositoryUnavailableError):
            await found.forward()
        assert found.edge.sealed == ""
    async with pair(tmp_path) as again:
        await decided(again, records)
        await again.forward()
        await require_whole(again)


Harm = Callable[[Batch], Batch]


def changed(batch: Batch) -> Batch:
    """Change one word of one event, and leave everything else."""
    event = json.loads(batch.events[0])
    body = canonical_bytes({**event, "details": {**event["details"], "intent": "another"}})
    return replace(batch, events=(body, *batch.events[1:]), payloads=(b"", *batch.payloads[1:]))


def of(batch: Batch, places: list[int]) -> Batch:
    """Return the batch with the events of these places, in this order."""
    return replace(
        batch,
        events=tuple(batch.events[at] for at in places),
        payloads=tuple(batch.payloads[at] for at in places),
    )


HARMS: dict[str, tuple[Harm, str]] = {
    "an event left out at the beginning": (
        lambda batch: replace(batch, start=batch.start + 1, events=batch.events[1:], payloads=batch.payloads[1:]),
        "gap",
    ),
    "an event left out in the middle": (
        lambda batch: of(batch, [0, *range(2, EVENTS)]),
        "checkpoint",
    ),
    "two events in another order": (
        lambda batch: of(batch, [1, 0, *range(2, EVENTS)]),
        "fork",
    ),
    "an event changed": (changed, "fork"),
    "an event twice": (lambda batch: of(batch, [0, *range(EVENTS)]), "checkpoint"),
    "no events": (lambda batch: of(batch, []), "malformed"),
    "the payload of another event": (
        lambda batch: replace(batch, payloads=(*batch.payloads[:-1], batch.payloads[0])),
        "payload",
    ),
    "no checkpoint": (lambda batch: replace(batch, checkpoint=""), "checkpoint"),
    "a broken signature": (
        lambda batch: replace(batch, checkpoint=batch.checkpoint.replace("— ", "— ", 1)[:-6] + "AAAA=\n"),
        "checkpoint",
    ),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
async def test_a_batch_that_is_not_exactly_the_next_events_is_refused_whole(
    tmp_path: Path, harm: tuple[Harm, str]
) -> None:
    change, why = harm
    async with pair(tmp_path) as found:
        await decided(found, Records(), 2)
        await found.way.enrol(found.keys.public.text(), KEYS)
        with pytest.raises(RecordsRefusedError) as refused:
            await found.way.reconcile(change(await found.batch(0, EVENTS)))
        assert refused.value.metadata()["why"] == why
        assert await found.recorded() == []
        incidents = ["incident.edge_history_rewritten"] if why == "fork" else []
        assert await found.kinds() == ["edge.enrolled", *incidents]
        await found.forward()
        await require_whole(found)


@pytest.mark.asyncio
async def test_a_batch_that_is_played_again_is_refused_and_told_where_to_go_on(tmp_path: Path) -> None:
    async with pair(tmp_path) as found:
        await decided(found, Records(), 2)
        await found.forward()
        with pytest.raises(RecordsRefusedError) as refused:
            await found.way.reconcile(found.way.sent[0])
        assert refused.value.metadata()["why"] == "duplicate"
        assert refused.value.metadata()["expected"] == str(2 * EVENTS)
        await require_whole(found)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"type": "x"}', b'{"a":1e400}', b"\xff", b'{"a":1,"a":2}'])
def test_what_is_no_event_in_canonical_form_is_refused(body: bytes) -> None:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    with pytest.raises(RecordsRefusedError) as refused:
        edge_event(3, body, content)
    assert refused.value.metadata() == {"why": "malformed", "index": "3"}


@pytest.mark.asyncio
async def test_an_edge_cannot_add_to_the_log_of_another(tmp_path: Path) -> None:
    async with pair(tmp_path) as found:
        await decided(found, Records(), 2)
        await found.forward()
        await decided(found, Records("more"))
        batch = received(await found.batch(2 * EVENTS, 3 * EVENTS))
        # It has not enrolled, and with keys of its own it cannot sign what continues the other's log.
        with pytest.raises(RecordsRefusedError) as unknown:
            await found.way.centre(OTHER, batch)
        assert unknown.value.metadata()["why"] == "unknown"
        own = CheckpointKeys("example.org/other", open_key(tmp_path / "other", "log"))
        await found.way.centre.enrol(OTHER, own.public.text(), KEYS)
        with pytest.raises(RecordsRefusedError) as gap:
            await found.way.centre(OTHER, batch)
        assert gap.value.metadata()["why"] == "gap"
        first = received(await found.batch(0, EVENTS))
        with pytest.raises(RecordsRefusedError) as foreign:
            await found.way.centre(OTHER, first)
        assert foreign.value.metadata()["why"] == "checkpoint"
        # Nor can it pose as the other by enrolling under its id.
        with pytest.raises(RecordsRefusedError) as posing:
            await found.way.centre.enrol(EDGE, own.public.text(), KEYS)
        assert posing.value.metadata()["why"] == "other_keys"
        assert "incident.edge_history_rewritten" in await found.kinds()
        await found.forward()
        await require_whole(found)


@pytest.mark.asyncio
async def test_who_is_not_registered_gets_nothing_recorded(tmp_path: Path) -> None:
    async with pair(tmp_path) as found:
        await decided(found, Records())
        found.way.edge_id = "spiffe://corp.example/edge/stranger"
        with pytest.raises(NotPermittedError, match="not registered"):
            await found.forward()
        for key in ("", "x", "a+b+c", "x" * 5000):
            with pytest.raises(InvalidRequestError):
                await found.way.centre.enrol(EDGE, key, KEYS)
        assert await found.kinds() == []


@pytest.mark.asyncio
async def test_an_agent_of_another_place_that_was_allowed_something_is_an_incident(tmp_path: Path) -> None:
    records = Records()
    async with pair(tmp_path, "agent-a") as found:
        await found.edge.append(records.record(agent="agent-a"))
        await found.edge.append(records.record(agent="agent-b", outcome=Outcome.DENY))
        await found.edge.append(records.record(agent="agent-b"))
        await found.forward()
        assert await found.kinds() == ["edge.enrolled", "incident.edge_foreign_agent"]
        await require_whole(found)


@pytest.mark.asyncio
async def test_a_log_that_was_set_back_is_sealed_before_anything_of_it_is_sent(tmp_path: Path) -> None:
    records = Records()
    async with pair(tmp_path) as found:
        await decided(found, records)
    shutil.copytree(tmp_path / "edge", tmp_path / "backup")
    async with pair(tmp_path) as found:
        await decided(found, records, 2)
        await found.forward()
    shutil.rmtree(tmp_path / "edge")
    shutil.copytree(tmp_path / "backup", tmp_path / "edge")
    async with pair(tmp_path) as back:
        with pytest.raises(IntegrityError, match="it was set back"):
            await back.forward()
        with pytest.raises(SealedError):
            await back.edge.append(records.record())
        assert back.way.sent == []


@pytest.mark.asyncio
async def test_a_log_that_went_another_way_after_it_was_set_back_is_sealed(tmp_path: Path) -> None:
    records = Records()
    async with pair(tmp_path) as found:
        await decided(found, records)
    shutil.copytree(tmp_path / "edge", tmp_path / "backup")
    async with pair(tmp_path) as found:
        await decided(found, records)
        await found.forward()
    shutil.rmtree(tmp_path / "edge")
    shutil.copytree(tmp_path / "backup", tmp_path / "edge")
    async with pair(tmp_path) as back:
        await decided(back, Records("other"), 4)
        with pytest.raises(IntegrityError, match="are not those that the centre has"):
            await back.forward()
        assert back.edge.sealed
        assert back.way.sent == []


FORGERIES = {
    "how far an edge is": "UPDATE edge SET size = size - 1, peaks = x''",
    "when it was heard last": "UPDATE edge SET reconciled_at = reconciled_at + 1000",
    "its keys": "UPDATE edge SET log_key = 'another'",
    "an edge that never was": "INSERT INTO edge VALUES ('ghost', 'k', x'', 0, 0, 0, x'')",
    "no edge at all": "DELETE FROM edge",
    "a release": "INSERT INTO edge_release VALUES (1, 7, 'r', 'd')",
}


@pytest.mark.asyncio
async def test_what_is_kept_of_edges_otherwise_than_the_log_tells_is_found(tmp_path: Path) -> None:
    async with pair(tmp_path) as found:
        await decided(found, Records(), 2)
        await found.forward()
    original = tmp_path / "centre" / "audit.db"
    for number, statement in enumerate(FORGERIES.values()):
        copy = Path(shutil.copyfile(original, tmp_path / f"{number}.db"))
        connection = apsw.Connection(str(copy))
        connection.execute(statement)
        connection.close()
        assert (await verified(copy)).problem, statement
    assert (await verified(original)).problem == ""


async def signing(found: Pair, root: Path, clock: FakeClock) -> RotateKeys[TimedGrantKeys]:
    """Have the edge sign grants with a key of its own."""
    files = KeyFiles(root / "edge" / "keys", KeyUse.GRANT)
    keys = FollowKeys(KeyUse.GRANT, found.edge, files, TimedGrantKeys(clock), clock, verifies_ed25519)
    await keys.open()
    found.grant_keys = lambda: key_set_of(keys.first)
    return RotateKeys(keys, RandomIds())


async def grant_keys(found: Pair) -> JsonValue:
    """Return the keys of the edge's grants, as the centre lists them."""
    [known] = [edge for edge in await found.way.centre.known() if edge.edge_id == EDGE]
    keys: JsonValue = json.loads(known.grant_keys)
    return keys


@pytest.mark.asyncio
async def test_the_centre_follows_the_key_of_an_edges_grants_by_its_log(tmp_path: Path) -> None:
    clock = FakeClock()
    async with pair(tmp_path) as found:
        rotate = await signing(found, tmp_path, clock)
        first = rotate.keys.first
        await found.forward()
        assert await grant_keys(found) == json.loads(key_set_of(first))
        for revoke in (False, False):
            await rotate(principal="dana", reason="yearly", revoke=revoke)
        await decided(found, Records(), 2)
        await found.forward()
        assert await grant_keys(found) == json.loads(rotate.keys.ring.key_set())
        await require_whole(found)
    # An edge that starts again is known again, and so is one that never told of its first key before.
    async with pair(tmp_path) as found:
        rotate = await signing(found, tmp_path, clock)
        assert (rotate.keys.chain.number, rotate.keys.first) == (2, first)
        await found.forward()
        await rotate(principal="dana", reason="seen elsewhere", revoke=True)
        await found.forward()
        assert len(json.loads(rotate.keys.ring.key_set())["keys"]) == 1
        assert await grant_keys(found) == json.loads(rotate.keys.ring.key_set())
        assert await found.kinds() == ["edge.enrolled", *["edge.grant_key_rotated"] * 3]
    shutil.rmtree(tmp_path / "centre")
    async with pair(tmp_path) as found:
        rotate = await signing(found, tmp_path, clock)
        await found.forward()
        assert await grant_keys(found) == json.loads(rotate.keys.ring.key_set())
        await require_whole(found)


@pytest.mark.asyncio
async def test_another_key_of_grants_that_no_rotation_proves_is_refused(tmp_path: Path) -> None:
    clock = FakeClock()
    async with pair(tmp_path) as found:
        await signing(found, tmp_path, clock)
        await found.forward()
        found.grant_keys = lambda: key_set_of(open_key(tmp_path / "elsewhere", "grants").public_raw)
        with pytest.raises(RecordsRefusedError, match="other keys"):
            await found.forward()


@pytest.mark.asyncio
async def test_a_rotation_that_the_edges_keys_do_not_prove_changes_nothing_and_is_an_incident(tmp_path: Path) -> None:
    clock = FakeClock()
    async with pair(tmp_path) as found:
        rotate = await signing(found, tmp_path, clock)
        await found.forward()
        before = await grant_keys(found)
        thief, own = (open_key(tmp_path / "elsewhere", name) for name in ("thief", "own"))
        true = rotate.keys.ring.signer
        for old, new, by_old in ((thief, own, thief), (true, own, thief)):
            rotation = Rotation(1, old.public_raw, new.public_raw, 1_800_000_000, grace=True)
            signed = SignedRotation(rotation, by_old.sign(rotation.text()), new.sign(rotation.text()))
            event = rotated_event(signed, id=RandomIds().event_id(), now_ns=clock.now_ns(), principal="eve", reason="")
            await found.edge.append_event(event)
        await found.forward()
        assert await grant_keys(found) == before
        assert await found.kinds() == ["edge.enrolled", *["incident.edge_history_rewritten"] * 2]
        await require_whole(found)
