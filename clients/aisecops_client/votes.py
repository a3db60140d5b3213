"""A vote on a request for approval, signed with the voter's own key.

What is signed names the digest of the statement that was shown. Whoever signs has hashed what they saw: see
``statement_digest``.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aisecops.v1 import approval_pb2, approval_service_pb2

AUDIENCE = "aisecops/approval"
TYPE = "approval+jws"
_CHOICES = {approval_pb2.CHOICE_APPROVE: "approve", approval_pb2.CHOICE_DENY: "deny"}


@dataclass(frozen=True, slots=True)
class VoteSigner:
    """A person's key: its algorithm (`EdDSA` or `ES256`), its RFC 7638 thumbprint in hexadecimal, and how it signs.

    An ES256 signature is the 64 bytes of r and s (RFC 7518).
    """

    algorithm: str
    key_id: str
    sign: Callable[[bytes], bytes]


def statement_digest(shown: approval_service_pb2.GetApprovalResponse) -> str:
    """Return the digest of exactly what was shown, computed here.

    Raises:
        ValueError: what was shown is not what the request says that it asks.
    """
    found = hashlib.sha256(shown.statement_json).hexdigest()
    if found != shown.approval.statement_digest:
        raise ValueError("what was shown is not what is asked; nothing was voted")
    return found


def vote_request(
    shown: approval_service_pb2.GetApprovalResponse,
    choice: approval_pb2.Choice.ValueType,
    *,
    note: str = "",
    signer: VoteSigner | None = None,
    at_seconds: int = 0,
    token_id: str = "",
) -> approval_service_pb2.VoteRequest:
    """Return the vote on what was ``shown``; with a ``signer`` also the time now and an id that was never used.

    Raises:
        ValueError: what was shown is not what is asked.
    """
    request = approval_service_pb2.VoteRequest(
        approval_id=shown.approval.approval_id, choice=choice, note=note, statement_digest=statement_digest(shown)
    )
    if signer is not None:
        claims = {
            "aud": AUDIENCE,
            "sub": shown.caller,
            "iat": at_seconds,
            "jti": token_id,
            "approval_id": request.approval_id,
            "statement_sha256": request.statement_digest,
            "choice": _CHOICES[choice],
            "note": note,
        }
        request.signature = _signed(signer, claims)
    return request


def together_request(
    shown: Sequence[approval_service_pb2.GetApprovalResponse],
    choice: approval_pb2.Choice.ValueType,
    *,
    note: str = "",
    signer: VoteSigner | None = None,
    at_seconds: int = 0,
    token_ids: Sequence[str] = (),
) -> approval_service_pb2.VoteTogetherRequest:
    """Return one answer to all that was ``shown``; with a ``signer`` also the time now and an id for each vote.

    Raises:
        ValueError: what was shown is not what is asked, or there are too few ids.
    """
    votes = [
        vote_request(one, choice, note=note, signer=signer, at_seconds=at_seconds, token_id=token_id)
        for one, token_id in zip(shown, token_ids if signer else [""] * len(shown), strict=True)
    ]
    seen = [
        approval_service_pb2.SeenApproval(
            approval_id=vote.approval_id, statement_digest=vote.statement_digest, signature=vote.signature
        )
        for vote in votes
    ]
    return approval_service_pb2.VoteTogetherRequest(choice=choice, note=note, seen=seen)


def _signed(signer: VoteSigner, claims: Mapping[str, object]) -> str:
    header = {"alg": signer.algorithm, "kid": signer.key_id, "typ": TYPE}
    signed = f"{_encoded(_canonical(header))}.{_encoded(_canonical(claims))}"
    return f"{signed}.{_encoded(signer.sign(signed.encode()))}"


def _canonical(members: Mapping[str, object]) -> bytes:
    # RFC 8785, for objects of texts and whole numbers with names in ASCII.
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
