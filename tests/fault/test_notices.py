"""People are told at least once, whatever happens to the receiver or the control plane; or it is on record why not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.adapters.webhooks.courier import WebhookCourier, headers
from aisecops_server.adapters.webhooks.endpoint import read_endpoint
from aisecops_server.domain.approvals.notice import Attempt, Notice, NoticeState
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import ContendedError, NotFoundError
from aisecops_server.usecases.approvals.resend_notices import ResendNotices
from aisecops_server.usecases.approvals.send_notices import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    MOST_AGE_SECONDS,
    MOST_ATTEMPTS,
    SendNotices,
)

from tests.scenes.approvals.approval_scene import AGENT, PAY, ApprovalScene, approval_scene, principal
from tests.scenes.servers.webhook_receiver import Received, Receiver, is_genuine, receiver

pytestmark = pytest.mark.asyncio


@dataclass
class FixedChance:
    """Chance that gives what it was told to."""

    value: float = 0.0

    def fraction(self) -> float:
        return self.value


@dataclass
class ScriptedCourier:
    """Answers as told, then takes everything."""

    script: list[Attempt] = field(default_factory=list)
    sent: list[Notice] = field(default_factory=list)

    async def deliver(self, notice: Notice, *, at_seconds: int) -> Attempt:
        self.sent.append(notice)
        return self.script.pop(0) if self.script else Attempt("")


def sender(scene: ApprovalScene, chance: float = 0.0, **couriers: Any) -> SendNotices:
    return SendNotices(scene.log, scene.store, couriers, scene.clock, scene.ids, FixedChance(chance))


def courier(root: Path, to: Receiver, *, seconds: float = 10.0) -> WebhookCourier:
    return WebhookCourier(read_endpoint(to.endpoint(root)), seconds)


async def told(scene: ApprovalScene) -> list[tuple[str, int, str]]:
    """Return what the log says of messages: type, attempts, problem."""
    details = [(event.type, event.details()) for event in await scene.events("notice.")]
    return [(kind, item["attempts"], item["problem"]) for kind, item in details]


async def test_a_request_is_told_with_who_asks_and_why_and_none_of_the_agents_words(tmp_path: Path) -> None:
    async with receiver() as to, approval_scene(tmp_path, endpoints=("pager",)) as scene:
        approval_id = await scene.asked()
        await sender(scene, pager=courier(tmp_path, to)).round("pager")
        [message] = to.received
        approval = await scene.store.approval(approval_id)
        assert message.body == {
            "type": "approval.requested",
            "delivery_id": message.id,
            "approval_id": approval_id,
            "agent_id": AGENT,
            "tools": ["bank/pay"],
            "rules": ["fake.tool"],
            "approvers_required": 1,
            "groups": [],
            "trace_id": approval.request.trace_id,
            "bundle_revision": approval.request.bundle_revision,
            "requested_at_seconds": scene.now,
            "expires_at_seconds": scene.now + 900,
        }
        assert b"NL91" not in message.raw
        assert b"invoice" not in message.raw
        assert (await scene.store.counts()).pending == 0
        assert await told(scene) == [("notice.delivered", 1, "")]
        [event] = await scene.events("notice.")
        assert event.trace_id == approval.request.trace_id


async def test_the_receiver_can_tell_a_message_from_a_forged_changed_or_old_one(tmp_path: Path) -> None:
    async with receiver() as to, approval_scene(tmp_path, endpoints=("pager",)) as scene:
        await scene.asked()
        await sender(scene, pager=courier(tmp_path, to)).round("pager")
        [message] = to.received
        assert is_genuine(message, now=scene.now)
        assert not is_genuine(message, now=scene.now + 301)
        assert not is_genuine(message, now=scene.now, secret=b"XYZ" * 8)
        for forged in (
            replace(message, raw=message.raw.replace(b"bank/pay", b"bank/pat")),
            replace(message, at=message.at + 1),
            replace(message, id="msg-other"),
        ):
            assert not is_genuine(forged, now=scene.now)


async def test_with_two_secrets_either_verifies(tmp_path: Path) -> None:
    endpoint = replace(read_endpoint(Receiver(port=1).endpoint(tmp_path)), secrets=(b"DEF" * 8, b"ABC" * 8))
    notice = Notice("msg-1", "pager", b"{}")
    made = Received("msg-1", 7, {}, headers(endpoint, notice, at_seconds=7), b"{}")
    assert [is_genuine(made, now=7, secret=secret) for secret in (b"DEF" * 8, b"ABC" * 8, b"GHI" * 8)] == [
        True,
        True,
        False,
    ]


async def test_failures_are_tried_again_with_growing_pauses_under_the_same_id(tmp_path: Path) -> None:
    answers = [500, 503, 302, 404]
    async with receiver(answers=list(answers)) as to, approval_scene(tmp_path, endpoints=("pager",)) as scene:
        await scene.asked()
        sending = sender(scene, chance=0.5, pager=courier(tmp_path, to))
        pauses = []
        for _ in range(len(answers) + 1):
            pauses.append(await sending.round("pager"))
            assert await sending.round("pager") == pytest.approx(pauses[-1])  # nothing is due before its time
            scene.clock.advance(pauses[-1])
        assert [round(pause, 3) for pause in pauses[:-1]] == [0.75, 1.5, 3.0, 6.0]
        assert len({message.id for message in to.received}) == 1
        assert len(to.received) == len(answers) + 1
        assert all(is_genuine(message, now=message.at) for message in to.received)
        assert await told(scene) == [("notice.delivered", 5, "")]


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.5), (0.999, 1.0)])
async def test_chance_keeps_pauses_apart_within_bounds(tmp_path: Path, chance: float, share: float) -> None:
    async with approval_scene(tmp_path, endpoints=("pager",)) as scene:
        await scene.asked()
        sending = sender(scene, chance=chance, pager=ScriptedCourier([Attempt("down")] * MOST_ATTEMPTS))
        pauses = []
        for _ in range(MOST_ATTEMPTS - 1):
            pauses.append(await sending.round("pager"))
            scene.clock.advance(pauses[-1])
        wanted = [min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**at) * share for at in range(MOST_ATTEMPTS - 1)]
        assert pauses == pytest.approx(wanted, rel=0.01)


async def test_what_nobody_takes_is_given_up_and_everybody_can_see_it(tmp_path: Path) -> None:
    async with approval_scene(tmp_path, endpoints=("pager",)) as scene:
        await scene.asked()
        sending = sender(scene, pager=ScriptedCourier([Attempt("it answered with status 500")] * MOST_ATTEMPTS))
        for _ in range(MOST_ATTEMPTS):
            scene.clock.advance(await sending.round("pager"))
        counts = await scene.store.counts()
        assert (counts.pending, counts.dead, counts.problem) == (0, 1, "pager: it answered with status 500")
        assert await told(scene) == [("notice.dead", MOST_ATTEMPTS, "it answered with status 500")]


async def test_a_receiver_that_is_gone_for_good_is_not_asked_again(tmp_path: Path) -> None:
    async with receiver(answers=[410]) as to, approval_scene(tmp_path, endpoints=("pager",)) as scene:
        await scene.asked()
        await sender(scene, pager=courier(tmp_path, to)).round("pager")
        assert await told(scene) == [("notice.dead", 1, "it answered with status 410")]


async def test_a_redirection_is_a_failure_and_is_not_followed(tmp_path: Path) -> None:
    async with receiver(answers=[307]) as to, approval_scene(tmp_path, endpoints=("pager",)) as scene:
        await scene.asked()
        sending = sender(scene, pager=courier(tmp_path, to))
        assert await sending.round("pager") > 0
        assert len(to.received) == 1
        assert (await scene.store.counts()).pending == 1


async def test_a_receiver_that_hangs_is_given_up_on_and_holds_up_nobody_else(tmp_path: Path) -> None:
    async with receiver() as slow, receiver() as fast:
        slow.gate.clear()
        async with approval_scene(tmp_path, endpoints=("slow", "fast")) as scene:
            await scene.asked()
            hanging = WebhookCourier(read_endpoint(slow.endpoint(tmp_path, "slow")), 0.2)
            sending = sender(scene, slow=hanging, fast=WebhookCourier(read_endpoint(fast.endpoint(tmp_path, "fast"))))
            running = asyncio.create_task(sending.run())
            await fast.arrived.wait()
            await slow.arrived.wait()
            waiting = await scene.store.pending("slow", limit=9)
            assert len(waiting) == 1
            await _until(scene, "notice.delivered")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert await sending.round("slow") > 0


async def test_nobody_listens_and_then_somebody_does_across_restarts_of_the_control_plane(tmp_path: Path) -> None:
    async with receiver() as to:
        port = to.port
    closed = WebhookCourier(read_endpoint(to.endpoint(tmp_path)))
    async with approval_scene(tmp_path, endpoints=("pager",)) as scene:
        await scene.asked()
        await sender(scene, pager=closed).round("pager")
        [waiting] = await scene.store.pending("pager", limit=9)
    async with approval_scene(tmp_path) as scene:
        await sender(scene, pager=closed).round("pager")
    async with receiver(port=port) as to, approval_scene(tmp_path) as scene:
        await sender(scene, pager=courier(tmp_path, to)).round("pager")
        assert [message.id for message in to.received] == [waiting.notice.id]
        assert await told(scene) == [("notice.delivered", 1, "")]
        assert (await scene.log.verify()).problem == ""


async def test_a_crash_between_the_answer_and_the_record_tells_twice_under_one_id(tmp_path: Path) -> None:
    async with receiver() as to:
        async with approval_scene(tmp_path, endpoints=("pager",)) as scene:
            await scene.asked()
            [waiting] = await scene.store.pending("pager", limit=9)
            taken = await courier(tmp_path, to).deliver(waiting.notice, at_seconds=scene.now)
            assert taken == Attempt("")
        async with approval_scene(tmp_path) as scene:
            await sender(scene, pager=courier(tmp_path, to)).round("pager")
        assert [message.id for message in to.received] == [waiting.notice.id] * 2


async def test_what_was_taken_is_not_sent_again_while_the_log_cannot_be_written(tmp_path: Path) -> None:
    async with approval_scene(tmp_path, endpoints=("pager",)) as scene:
        await scene.asked()
        taking = ScriptedCourier()
        sending = sender(scene, pager=taking)
        scene.log.seal("somebody pulled the disk")
        for _ in range(3):
            scene.clock.advance(await sending.round("pager"))
        assert len(taking.sent) == 1
        assert (await scene.store.counts()).pending == 1


async def test_an_old_message_is_given_up_however_often_the_control_plane_restarts(tmp_path: Path) -> None:
    async with approval_scene(tmp_path, endpoints=("pager",)) as scene:
        await scene.asked()
    for _ in range(3):
        async with approval_scene(tmp_path) as scene:
            await sender(scene, pager=ScriptedCourier([Attempt("down")])).round("pager")
    async with approval_scene(tmp_path) as scene:
        scene.clock.advance(MOST_AGE_SECONDS + 1)
        quiet = ScriptedCourier()
        await sender(scene, pager=quiet).round("pager")
        assert quiet.sent == []
        assert await told(scene) == [("notice.dead", 0, "it grew too old")]


async def test_messages_for_an_endpoint_that_is_not_set_any_more_are_given_up(tmp_path: Path) -> None:
    async with approval_scene(tmp_path, endpoints=("gone", "pager")) as scene:
        await scene.asked()
        await sender(scene, pager=ScriptedCourier()).give_up_strangers()
        assert await told(scene) == [("notice.dead", 0, "no endpoint of that name is set")]
        assert [stored.notice.endpoint for stored in await scene.store.pending("pager", limit=9)] == ["pager"]


async def test_a_message_is_written_with_its_request_or_not_at_all(tmp_path: Path) -> None:
    async with approval_scene(tmp_path, endpoints=("pager",)) as scene:
        await asyncio.gather(*(scene.asked(arguments=PAY) for _ in range(16)))
        assert len(await scene.store.pending("pager", limit=99)) == 1
        [event] = await scene.events("approval.requested")
        [stored] = await scene.store.pending("pager", limit=99)
        assert event.details()["notices"] == [{"id": stored.notice.id, "endpoint": "pager"}]


@pytest.mark.parametrize("name", ["localhost.localdomain.invalid", "metadata.invalid"])
async def test_a_name_that_cannot_be_resolved_is_a_failed_attempt(tmp_path: Path, name: str) -> None:
    endpoint = read_endpoint(Receiver(port=1).endpoint(tmp_path, url=f"https://{name}/hook"))
    attempt = await WebhookCourier(endpoint, 5.0).deliver(Notice("msg-1", "pager", b"{}"), at_seconds=1)
    assert (bool(attempt.problem), attempt.is_final) == (True, False)


async def test_a_name_that_turns_out_to_be_this_machine_is_not_reached(tmp_path: Path) -> None:
    async with receiver() as to:
        # The name of this machine is one that anybody could write into their own zone.
        endpoint = replace(read_endpoint(to.endpoint(tmp_path, url=f"https://localhost:{to.port}/hook")), is_near=False)
        for is_private in (False, True):
            tried = WebhookCourier(
                replace(endpoint, is_private=is_private, url=to.url.replace("127.0.0.1", "localhost"))
            )
            attempt = await tried.deliver(Notice("msg-1", "pager", b"{}"), at_seconds=1)
            assert attempt.problem.startswith("it cannot be reached")
        assert to.received == []


async def _until(scene: ApprovalScene, kind: str) -> None:
    async for stored in scene.log.events(from_index=0, follow=True, trace_id=""):
        if stored.event.type == kind:
            return


async def test_a_message_that_was_given_up_is_sent_again_when_a_person_says_so(tmp_path: Path) -> None:
    async with approval_scene(tmp_path, endpoints=("pager",)) as scene:
        resend = ResendNotices(scene.log, scene.store, scene.clock, scene.ids)
        await scene.asked()
        down = ScriptedCourier([Attempt("410", is_final=True)])
        await sender(scene, pager=down).round("pager")
        [dead] = (await resend.page(NoticeState.DEAD, page_size=9, page_token="")).notices
        scene.clock.advance(MOST_AGE_SECONDS + 1)
        with pytest.raises(NotFoundError):
            await resend("ntc-0", by=principal("sec", Role.SECOPS))
        again = await resend(dead.notice.id, by=principal("sec", Role.SECOPS))
        assert (again.state, again.attempts, again.problem) == (NoticeState.PENDING, 0, "")
        with pytest.raises(ContendedError, match="not given up"):
            await resend(dead.notice.id, by=principal("sec", Role.SECOPS))
        assert (await scene.log.verify()).problem == ""
        await sender(scene, pager=down).round("pager")
        assert [notice.id for notice in down.sent] == [dead.notice.id] * 2
        assert [kind for kind, _, _ in await told(scene)] == ["notice.dead", "notice.resent", "notice.delivered"]
        assert (await scene.log.verify()).problem == ""
        first = await resend.page(None, page_size=1, page_token="")
        assert (first.notices[0].state, first.next_token) == (NoticeState.DELIVERED, "")
