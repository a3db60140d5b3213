"""The ceremony that replaces the key which attests votes: recorded first, by the old key and for the new one.

It is held while no control plane runs, which the log's lock makes sure of. Requests that are open go on: what the old
key attested before this moment counts, and it attests nothing from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.adapters.signing.retired_keys import fresh_key, public_jwk, replace_key, retired_keys
from aisecops_server.adapters.signing.vote_keys import SigningVoteKeys
from aisecops_server.adapters.system import RandomIds, SystemClock
from aisecops_server.bootstrap.store import open_log
from aisecops_server.domain.callers.people import RetiredKey
from aisecops_server.domain.events.event import Stage, control_event
from aisecops_server.domain.formats import jws
from aisecops_server.ports import Clock
from aisecops_server.settings import Settings
from aisecops_server.usecases.approvals.vote_proofs import VoteProofs
from aisecops_server.usecases.budgets.adjust_budget import require_reason

VOTE_KEY = "approval"


@dataclass(frozen=True, slots=True)
class Rotated:
    """The names of the key that was replaced and of the one that attests from now on."""

    retired: str
    current: str
    at_seconds: int


def vote_proofs(directory: Path) -> VoteProofs:
    """Return what attests votes with the key of a directory, and believes what its earlier keys attested."""
    return VoteProofs(SigningVoteKeys(open_key(directory, VOTE_KEY), retired_keys(directory, VOTE_KEY)))


async def rotate_vote_key(settings: Settings, *, reason: str, clock: Clock | None = None) -> Rotated:
    """Replace the key that attests votes.

    Raises:
        InvalidRequestError: there is no reason.
        LogUnavailableError: a control plane runs, or the log cannot be written; nothing was replaced.
        IntegrityError: the key cannot be used.
    """
    require_reason(reason)
    clock, directory = clock or SystemClock(), settings.state_dir / "keys"
    old = open_key(directory, VOTE_KEY)
    now_ns = clock.now_ns()
    retired = RetiredKey(public_jwk(old), now_ns // 1_000_000_000)
    log = await open_log(settings)
    try:
        new = fresh_key()
        names = jws.thumbprint(retired.key), jws.thumbprint(public_jwk(new))
        message = f"aisecops vote key {names[0]} is replaced by {names[1]}".encode()
        await log.append_event(
            control_event(
                "vote_key.rotated",
                {
                    "reason": reason,
                    "retired": retired.key,
                    "current": public_jwk(new),
                    "retired_at_seconds": retired.retired_at_seconds,
                    "signed": message.decode(),
                    "by_retired": old.sign(message).hex(),
                    "by_current": new.sign(message).hex(),
                },
                id=RandomIds().event_id(),
                now_ns=now_ns,
                stage=Stage.APPROVAL,
            )
        )
        replace_key(directory, VOTE_KEY, retired=retired, by=new)
    finally:
        await log.close()
    return Rotated(*names, retired.retired_at_seconds)
