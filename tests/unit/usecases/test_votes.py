"""Answers of people: one each, of those who may, to exactly what they saw, proved by a key."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from aisecops_server.adapters.signing.vote_keys import jwk_of
from aisecops_server.domain.approvals.approval import Approval, ApprovalState, Choice, SignedBy
from aisecops_server.domain.approvals.approval_statement import VOTE_TYPE
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.errors import (
    AisecopsError,
    ApprovalNotUsableError,
    IntegrityError,
    InvalidRequestError,
    NotPermittedError,
)
from aisecops_server.domain.formats import jws
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.usecases.approvals.vote import VoteCommand
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.scenes.approvals.approval_scene import AGENT, ApprovalScene, approval_scene, principal

pytestmark = pytest.mark.asyncio

ADA, BOB, CLEO, DAN = (f"{name}@corp.example" for name in ("ada", "bob", "cleo", "dan"))


async def refusal(voting: Any) -> AisecopsError:
    with pytest.raises(AisecopsError) as refused:
        await voting
    return refused.value


async def test_as_many_different_people_as_policy_says_must_agree(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        scene.engine.demand = {"approvers_required": 2}
        approval_id = await scene.asked()
        assert (await scene.vote(approval_id, ADA)).state is ApprovalState.REQUESTED
        granted = await scene.vote(approval_id, BOB, note="as agreed with treasury")
        assert (granted.state, granted.approvers, granted.version) == (ApprovalState.GRANTED, ("ada", "bob"), 2)
        assert granted.votes[1].note == "as agreed with treasury"


@pytest.mark.parametrize("alias", [ADA, "ADA@corp.example", "spiffe://corp.example/people/ada", "ada"])
async def test_nobody_has_two_votes_under_whatever_name(tmp_path: Path, alias: str) -> None:
    async with approval_scene(tmp_path) as scene:
        scene.engine.demand = {"approvers_required": 2}
        approval_id = await scene.asked()
        await scene.vote(approval_id, ADA)
        again = await refusal(scene.vote(approval_id, alias))
        assert (type(again), again.metadata()["why"]) == (ApprovalNotUsableError, "voted")
        assert (await scene.store.approval(approval_id)).approvers == ("ada",)


async def test_somebody_whom_policy_learns_to_know_between_votes_is_still_one(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        scene.engine.demand = {"approvers_required": 2}
        approval_id = await scene.asked()
        await scene.vote(approval_id, "stranger@corp.example")
        scene.amend("people", eve={"aliases": ["Stranger@corp.example", "eve@corp.example"]})
        again = await refusal(scene.vote(approval_id, "eve@corp.example"))
        assert again.metadata()["why"] == "voted"


async def test_two_votes_that_turn_out_to_be_one_person_do_not_count_as_two(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        scene.engine.demand = {"approvers_required": 2}
        approval_id = await scene.asked()
        await scene.vote(approval_id, "x@corp.example")
        await scene.vote(approval_id, "y@corp.example")
        scene.amend("people", twin={"aliases": ["x@corp.example", "y@corp.example"]})
        assert (await scene.ask(approval=approval_id)).outcome is Outcome.REQUIRE_APPROVAL


async def test_who_answers_for_the_agent_has_no_vote(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.asked()
        assert (await scene.store.approval(approval_id)).request.terms.excluded == ("cleo", "clerks")
        for owner in (CLEO, "cleo", "clerks"):
            assert isinstance(await refusal(scene.vote(approval_id, owner)), NotPermittedError)
        scene.amend("agents", **{AGENT: {"owner": DAN}})
        mine = await scene.asked(arguments=b'{"amount": 1}')
        assert isinstance(await refusal(scene.vote(mine, DAN)), NotPermittedError)
        assert (await scene.vote(approval_id, DAN)).state is ApprovalState.GRANTED


async def test_only_people_of_the_groups_that_policy_names_may_vote(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        scene.engine.demand = {"groups": ["treasury", "board"]}
        approval_id = await scene.asked()
        for outsider in (DAN, "stranger@corp.example"):
            refused = await refusal(scene.vote(approval_id, outsider))
            assert (type(refused), "treasury, board" in refused.message) == (NotPermittedError, True)
        assert (await scene.vote(approval_id, BOB)).state is ApprovalState.GRANTED


async def test_one_denial_ends_it_and_nobody_can_revive_it(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        scene.engine.demand = {"approvers_required": 3}
        approval_id = await scene.asked()
        await scene.vote(approval_id, ADA)
        assert (await scene.vote(approval_id, BOB, Choice.DENY, note="who is this?")).state is ApprovalState.REJECTED
        refused = await refusal(scene.vote(approval_id, DAN))
        assert refused.metadata()["why"] == "rejected"
        # The agent may ask again, and people then see it again.
        assert await scene.asked() != approval_id


async def test_votes_that_come_too_late_are_refused_and_on_record(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        granted, expired = await scene.granted(), await scene.asked(arguments=b"{}")
        assert (await refusal(scene.vote(granted, BOB))).metadata()["why"] == "granted"
        await scene.ask(approval=granted)
        assert (await refusal(scene.vote(granted, BOB))).metadata()["why"] == "consumed"
        scene.clock.advance(900)
        assert (await refusal(scene.vote(expired, BOB))).metadata()["why"] == "expired"
        told = [event.details() for event in await scene.events("approval.vote_refused")]
        assert [(item["principal"], item["metadata"]["why"]) for item in told] == [
            (BOB, "granted"),
            (BOB, "consumed"),
            (BOB, "expired"),
        ]


async def test_people_who_vote_in_the_same_instant_are_all_heard(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        scene.engine.demand = {"approvers_required": 3}
        approval_id = await scene.asked()
        await asyncio.gather(*(scene.vote(approval_id, name) for name in (ADA, BOB, DAN)))
        approval = await scene.store.approval(approval_id)
        assert (approval.state, sorted(approval.approvers)) == (ApprovalState.GRANTED, ["ada", "bob", "dan"])
        told = [event.details() for event in await scene.events("approval.voted")]
        assert [item["state"] for item in told] == ["REQUESTED", "REQUESTED", "GRANTED"]


async def test_of_a_yes_and_a_no_in_the_same_instant_one_comes_first(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        for _ in range(10):
            approval_id = await scene.asked()
            answers = await asyncio.gather(
                scene.vote(approval_id, ADA), scene.vote(approval_id, BOB, Choice.DENY), return_exceptions=True
            )
            approval = await scene.store.approval(approval_id)
            assert (len(approval.votes), [type(answer) for answer in answers].count(ApprovalNotUsableError)) == (1, 1)
            if approval.state is ApprovalState.GRANTED:
                assert (await scene.ask(approval=approval_id)).outcome is Outcome.ALLOW


async def test_a_vote_on_something_else_than_is_asked_is_refused(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        first, second = await scene.asked(), await scene.asked(arguments=b"{}")
        seen = (await scene.store.approval(first)).statement_digest
        command = _command(scene, await scene.store.approval(second), ADA)
        refused = await refusal(scene.votes(replace(command, statement_digest=seen)))
        assert refused.metadata()["field"] == "statement_digest"


async def test_with_a_token_alone_the_control_plane_vouches_and_says_so(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.asked()
        [vote] = (await scene.vote(approval_id, ADA, note="fine")).votes
        assert (vote.signed_by, vote.signature, vote.key_id) == (SignedBy.CONTROL_PLANE, "", scene.proofs.key_id)
        attested = _payload(vote.attestation)
        approval = await scene.store.approval(approval_id)
        assert attested["vote"] == {
            "approval_id": approval_id,
            "aud": "aisecops/approval",
            "choice": "approve",
            "iat": scene.now,
            "jti": vote.token_id,
            "note": "fine",
            "statement_sha256": approval.statement_digest,
            "sub": ADA,
        }
        assert (attested["principal"], attested["credential_sha256"], attested["signed_by"]) == (
            ADA,
            "ab" * 32,
            "control_plane",
        )
        [event] = await scene.events("approval.voted")
        told = event.details()
        assert (told["attestation"], told["signed_by"]) == (vote.attestation, "control_plane")
        assert event.trace_id == approval.request.trace_id


@dataclass(frozen=True)
class Signer:
    """Somebody's own key."""

    public: dict[str, Any]
    sign: Callable[[bytes], bytes]

    def signature(self, scene: ApprovalScene, approval: Approval, **other: Any) -> str:
        """Return a vote signed with it, in which ``other`` things are different from a good one."""
        parts = {"type": VOTE_TYPE, "algorithm": jws.algorithm_of(self.public), "key_id": jws.thumbprint(self.public)}
        parts |= {name: other.pop(name) for name in tuple(other) if name in parts}
        claims = {
            "aud": "aisecops/approval",
            "sub": ADA,
            "iat": scene.now,
            "jti": scene.ids.nonce(),
            "approval_id": approval.id,
            "statement_sha256": approval.statement_digest,
            "choice": "approve",
            "note": "",
            **other,
        }
        signed = jws.signing_input(canonical_bytes(claims), **parts)
        return jws.compact(signed, self.sign(signed))


def ed25519_signer() -> Signer:
    key = Ed25519PrivateKey.generate()
    return Signer(jwk_of(key.public_key()), key.sign)


def p256_signer() -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    return Signer(jwk_of(key.public_key()), sign)


@pytest.mark.parametrize("make", [ed25519_signer, p256_signer])
async def test_who_has_a_registered_key_signs_with_it_and_nothing_less_counts(
    tmp_path: Path, make: Callable[[], Signer]
) -> None:
    async with approval_scene(tmp_path) as scene:
        own = make()
        scene.amend("people", ada={"aliases": [ADA], "keys": [ed25519_signer().public, own.public]})
        approval_id = await scene.asked()
        refused = await refusal(scene.vote(approval_id, ADA))
        assert refused.metadata()["field"] == "signature"
        approval = await scene.store.approval(approval_id)
        signature = own.signature(scene, approval)
        [vote] = (await scene.vote(approval_id, ADA, signature=signature)).votes
        assert (vote.signed_by, vote.signature, vote.key_id) == (
            SignedBy.VOTER,
            signature,
            jws.thumbprint(own.public),
        )
        assert _payload(vote.attestation)["signed_by"] == "voter"
        assert (await scene.ask(approval=approval_id)).outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    "other",
    [
        {"choice": "deny"},
        {"note": "and what about the others"},
        {"sub": BOB},
        {"approval_id": "apr-other"},
        {"statement_sha256": "0" * 64},
        {"aud": "aisecops"},
        {"iat": 0},
        {"iat": "now"},
        {"iat": True},
        {"jti": ""},
        {"jti": "a b"},
        {"jti": 7},
        {"exp": 1},
        {"type": "JWT"},
        {"type": "approval-attestation+jws"},
        {"algorithm": "none"},
        {"algorithm": "ES256"},
        {"algorithm": "HS256"},
        {"key_id": "0" * 64},
    ],
)
async def test_a_signature_of_anything_else_than_this_vote_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    async with approval_scene(tmp_path) as scene:
        own = ed25519_signer()
        scene.amend("people", ada={"aliases": [ADA], "keys": [own.public]})
        approval = await scene.store.approval(await scene.asked())
        refused = await refusal(scene.vote(approval.id, ADA, signature=own.signature(scene, approval, **other)))
        assert (type(refused), refused.metadata()["field"]) == (InvalidRequestError, "signature")
        assert (await scene.store.approval(approval.id)).votes == ()


async def test_what_is_not_a_signature_by_a_key_of_the_voter_is_refused(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        own, foreign = ed25519_signer(), ed25519_signer()
        scene.amend("people", ada={"aliases": [ADA], "keys": [own.public]}, bob={"keys": [foreign.public]})
        approval = await scene.store.approval(await scene.asked())
        good = own.signature(scene, approval)
        head, payload, signature = good.split(".")
        cut = signature[:-4]
        hostile = [
            foreign.signature(scene, approval),
            foreign.signature(scene, approval, key_id=jws.thumbprint(own.public)),
            f"{head}.{payload}.",
            f"{head}.{payload}.{cut}",
            f"{head}.{payload}.{signature}=",
            f"{head}..{signature}",
            f"{good}.{signature}",
            "x",
            "." * 20_000,
            _with_header(good, jwk=own.public),
            _with_header(good, crit=["exp"]),
        ]
        for signature in hostile:
            refused = await refusal(scene.vote(approval.id, ADA, signature=signature))
            assert (type(refused), refused.metadata()["field"]) == (InvalidRequestError, "signature")
        assert (await scene.vote(approval.id, ADA, signature=good)).state is ApprovalState.GRANTED


async def test_a_signed_vote_cannot_be_replayed_on_the_same_plan_asked_again(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        own = ed25519_signer()
        scene.amend("people", ada={"aliases": [ADA], "keys": [own.public]})
        first = await scene.store.approval(await scene.asked())
        signature = own.signature(scene, first)
        await scene.vote(first.id, ADA, signature=signature)
        await scene.ask(approval=first.id)
        second = await scene.asked()
        assert isinstance(await refusal(scene.vote(second, ADA, signature=signature)), InvalidRequestError)


async def test_who_writes_votes_into_the_database_makes_nobody_agree(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval = await scene.store.approval(await scene.granted())
        for forged in (
            replace(approval.votes[0], approver="bob"),
            replace(approval.votes[0], choice=Choice.APPROVE, note="sure"),
            replace(approval.votes[0], attestation=""),
            replace(approval.votes[0], attestation=ed25519_signer().signature(scene, approval)),
        ):
            with pytest.raises(IntegrityError):
                scene.proofs.require_genuine(replace(approval, votes=(forged,)))
        scene.proofs.require_genuine(approval)
    file = apsw.Connection(str(tmp_path / "audit.db"))
    file.execute("UPDATE vote SET details = CAST(replace(CAST(details AS TEXT), '\"ada\"', '\"bob\"') AS BLOB)")
    file.close()
    async with approval_scene(tmp_path) as scene:
        with pytest.raises(IntegrityError):
            await scene.ask(approval=approval.id)
        [refused] = await scene.events("decision.refused")
        assert refused.details()["reason"] == "INTEGRITY"


def _command(scene: ApprovalScene, approval: Approval, who: str) -> Any:
    return VoteCommand(
        voter=principal(who, Role.SECOPS),
        approval_id=approval.id,
        choice=Choice.APPROVE,
        note="",
        statement_digest=approval.statement_digest,
    )


def _payload(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def _with_header(token: str, **members: Any) -> str:
    head, payload, signature = token.split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))) | members
    return ".".join((base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode(), payload, signature))
