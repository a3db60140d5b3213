"""What proves a vote: the voter's own signature where there is one, and the control plane's attestation of every one.

An approval is believed only as far as its attestations verify, so that whoever can write to the database, and has not
the key, cannot make people agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from aisecops_server.domain.approvals.approval import Approval, Choice, SignedBy, Vote
from aisecops_server.domain.approvals.approval_statement import (
    ATTESTATION_TYPE,
    VOTE_TYPE,
    attestation_claims,
    vote_claims,
)
from aisecops_server.domain.callers.people import PublicKey
from aisecops_server.domain.errors import IntegrityError, InvalidRequestError
from aisecops_server.domain.formats import jws
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.formats.identifiers import is_identifier
from aisecops_server.domain.formats.strict_json import parse_object
from aisecops_server.ports.approvals import VoteKeys

# A vote is signed when it is cast; this much clocks may differ and a person may hesitate.
FRESH_SECONDS = 300
_FIELD = "signature"
_MOST_BYTES = 16 * 1024
_ATTESTATION_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class VoteProofs:
    """Makes and checks what proves votes."""

    keys: VoteKeys

    @property
    def key_id(self) -> str:
        """Return the name of the control plane's key."""
        return jws.thumbprint(self.keys.public_key)

    def signed(self, vote: Vote, approval: Approval, *, registered: Sequence[PublicKey], certificate: bytes) -> Vote:
        """Return ``vote`` as its signature makes it: by the voter's key, at the time and under the id that it says.

        The keys that count are those that the tables have ``registered`` for the person, and that of the connection's
        ``certificate``. Without a signature the vote stays the control plane's word, unless the person has a registered
        key: who stole a token has not stolen that.

        Raises:
            InvalidRequestError: it is no fresh signature of exactly this vote by one of those keys.
        """
        own = self.keys.of_certificate(certificate) if certificate else None
        keys = (*registered, own) if own else tuple(registered)
        if not vote.signature:
            if registered:
                raise _refused("is missing, and policy knows a key of yours", keys)
            return vote
        return self._by_voter(vote, approval, keys)

    def attested(self, vote: Vote, approval: Approval) -> Vote:
        """Return ``vote`` with the control plane's attestation."""
        signed = jws.signing_input(
            _attestation(vote, approval),
            type=ATTESTATION_TYPE,
            algorithm=jws.algorithm_of(self.keys.public_key),
            key_id=self.key_id,
        )
        return replace(vote, attestation=jws.compact(signed, self.keys.sign(signed)))

    def require_genuine(self, approval: Approval) -> None:
        """Refuse an approval whose votes were not all attested by this control plane as they stand there.

        Raises:
            IntegrityError: one was not.
        """
        for vote in approval.votes:
            if vote.choice is Choice.APPROVE and not self._is_genuine(vote, approval):
                raise IntegrityError(
                    f"the vote of {vote.approver} on approval {approval.id} does not verify",
                    hint="Nothing was allowed. Keep the database as evidence and run 'aisecops log verify'",
                )

    def _by_voter(self, vote: Vote, approval: Approval, keys: Sequence[PublicKey]) -> Vote:
        token = jws.read(vote.signature, field=_FIELD, most_bytes=_MOST_BYTES)
        key = next((key for key in keys if jws.thumbprint(key) == token.key_id), None)
        if token.type != VOTE_TYPE or key is None or token.algorithm != jws.algorithm_of(key):
            raise _refused(f"is not of the type {VOTE_TYPE} by a key of yours", keys)
        if not self.keys.verifies(key, token.signed, token.signature):
            raise _refused("does not verify", keys)
        claims = parse_object(token.payload, field=_FIELD, limit=_MOST_BYTES)
        at, token_id = claims.get("iat"), claims.get("jti")
        if isinstance(at, bool) or not isinstance(at, int) or not isinstance(token_id, str):
            raise _refused("has no time (iat) and id (jti)", keys)
        made = replace(vote, signed_at_seconds=at, token_id=token_id, signed_by=SignedBy.VOTER, key_id=token.key_id)
        if not is_identifier(token_id) or _claims(made, approval) != token.payload:
            raise _refused("signs another vote than this one", keys)
        if abs(vote.at_seconds - at) > FRESH_SECONDS:
            raise _refused("was not made just now", keys)
        return made

    def _is_genuine(self, vote: Vote, approval: Approval) -> bool:
        try:
            token = jws.read(vote.attestation, field="attestation", most_bytes=_ATTESTATION_BYTES)
        except InvalidRequestError:
            return False
        return (
            token.type == ATTESTATION_TYPE
            and token.payload == _attestation(vote, approval)
            and any(self.keys.verifies(key, token.signed, token.signature) for key in self._keys_at(vote.at_seconds))
        )

    def _keys_at(self, at_seconds: int) -> Iterator[PublicKey]:
        """Yield the keys that can have attested a vote of that time. A retired key attests nothing later."""
        yield self.keys.public_key
        for retired in self.keys.retired:
            if at_seconds <= retired.retired_at_seconds:
                yield retired.key


def _claims(vote: Vote, approval: Approval) -> bytes:
    return canonical_bytes(vote_claims(vote, approval_id=approval.id, statement_digest=approval.statement_digest))


def _attestation(vote: Vote, approval: Approval) -> bytes:
    claims = attestation_claims(vote, approval_id=approval.id, statement_digest=approval.statement_digest)
    return canonical_bytes(claims)


def _refused(why: str, keys: Sequence[PublicKey]) -> InvalidRequestError:
    known = ", ".join(jws.thumbprint(key)[:16] for key in keys) or "none"
    return InvalidRequestError(
        f"signature: {why}",
        hint=f"Sign with your own key; those of yours that are known: {known}",
        field=_FIELD,
    )
