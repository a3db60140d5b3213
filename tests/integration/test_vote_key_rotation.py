"""The key that attests votes is replaced while requests are open: they go on, and the old key attests nothing new."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.adapters.signing.retired_keys import retired_keys
from aisecops_server.adapters.signing.vote_keys import SigningVoteKeys
from aisecops_server.bootstrap.keys import VOTE_KEY, rotate_vote_key
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import AisecopsError, IntegrityError
from aisecops_server.usecases.approvals.vote_proofs import VoteProofs

from tests.integration.api.real import running, settings_in
from tests.integration.api.test_approvals import ADA, answered, people, refund
from tests.scenes.approvals.approval_scene import ApprovalScene, approval_scene

pytestmark = pytest.mark.asyncio


async def test_open_requests_go_on_with_the_new_key(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as (plane, agent), people(settings, plane, ADA) as [ada]:
        granted, waiting = await agent.decide(refund(501)), await agent.decide(refund(502))
        await answered(ada, granted.approval_id)
        with pytest.raises(AisecopsError, match="another process"):
            await rotate_vote_key(settings, reason="while it runs")
    old = open_key(settings.state_dir / "keys", VOTE_KEY)
    done = await rotate_vote_key(settings, reason="yearly")
    new = open_key(settings.state_dir / "keys", VOTE_KEY)
    assert old.public_raw != new.public_raw
    async with running(settings, *Role) as (plane, agent), people(settings, plane, ADA) as [ada]:
        assert (await agent.decide(refund(501), approval_id=granted.approval_id)).allowed
        await answered(ada, waiting.approval_id)
        assert (await agent.decide(refund(502), approval_id=waiting.approval_id)).allowed
        [vote] = (await ada.approvals.show(waiting.approval_id)).approval.votes
        assert vote.key_id == done.current
        [told] = [
            json.loads(stored.event.body)["details"]
            async for stored in plane.log.events(from_index=0, follow=False, trace_id="")
            if stored.event.type == "vote_key.rotated"
        ]
        assert (await plane.log.verify()).problem == ""
    assert told["reason"] == "yearly"
    for key, signature in ((old, told["by_retired"]), (new, told["by_current"])):
        assert verifies_ed25519(key.public_raw, told["signed"].encode(), bytes.fromhex(signature))
    [retired] = retired_keys(settings.state_dir / "keys", VOTE_KEY)
    assert (retired.key, "d" in retired.key) == (told["retired"], False)


async def forged(scene: ApprovalScene, approval_id: str, *, at_seconds: int) -> VoteProofs:
    """Vote as somebody who has stolen the retired key would have it, and return what judges by the new one."""
    approval = await scene.store.approval(approval_id)
    [vote] = approval.votes
    stolen = scene.proofs.attested(replace(vote, at_seconds=at_seconds, approver="bob"), approval)
    retired_at = scene.now
    (scene.root / "keys" / f"{VOTE_KEY}.pem").rename(scene.root / "keys" / "old.pem")
    held = [{"key": dict(scene.proofs.keys.public_key), "retired_at_seconds": retired_at}]
    (scene.root / "keys" / f"{VOTE_KEY}.retired.json").write_text(json.dumps(held), encoding="utf-8")
    keys = scene.root / "keys"
    proofs = VoteProofs(SigningVoteKeys(open_key(keys, VOTE_KEY), retired_keys(keys, VOTE_KEY)))
    proofs.require_genuine(approval)
    proofs.require_genuine(replace(approval, votes=(stolen,)))
    return proofs


async def test_a_retired_key_attests_nothing_later(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
        with pytest.raises(IntegrityError, match="bob"):
            await forged(scene, approval_id, at_seconds=scene.now + 1)


async def test_a_key_that_was_never_listed_attests_nothing(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval = await scene.store.approval(await scene.granted())
        other = VoteProofs(SigningVoteKeys(open_key(tmp_path / "others", VOTE_KEY)))
        with pytest.raises(IntegrityError):
            other.require_genuine(approval)
        (tmp_path / "keys" / f"{VOTE_KEY}.retired.json").write_text("{", encoding="utf-8")
        with pytest.raises(IntegrityError, match="cannot be read"):
            retired_keys(tmp_path / "keys", VOTE_KEY)
