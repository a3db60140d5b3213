"""KeyService: tells which keys sign evidence packages and bundles, and rotates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aisecops.v1 import key_service_pb2 as api

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.log.key_rotation import KeyUse
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.methods import read_message
from aisecops_server.ports.keys import SigningRing
from aisecops_server.usecases.log.rotate_key import RotateKeys

_REASON_CHARACTERS = 1000
_USES: Mapping[int, KeyUse] = {api.KEY_USE_EVIDENCE: KeyUse.EVIDENCE}

SigningKeys = Mapping[KeyUse, RotateKeys[SigningRing]]


@dataclass(frozen=True, slots=True)
class KeyService:
    """The handlers of ``aisecops.v1.KeyService``; an edge signs no bundles, so it has no keys for them."""

    keys: SigningKeys

    async def get(self, request: bytes, _caller: Caller) -> api.GetKeysResponse:
        """Answer GetKeys."""
        keys = self._keys(read_message(api.GetKeysRequest, request).use).keys
        told = await keys.log.key_rotations(keys.use)
        # One that is there and not taken up yet is taken up before it is told of.
        if told and told[-1].index != keys.chain.last:
            await keys()
        return api.GetKeysResponse(
            key=keys.ring.public.hex(), rotations=list(map(_rotation, told)), problem=keys.ring.problem
        )

    async def rotate(self, request: bytes, caller: Caller) -> api.RotateKeyResponse:
        """Answer RotateKey."""
        asked = read_message(api.RotateKeyRequest, request)
        if len(asked.reason) > _REASON_CHARACTERS:
            raise InvalidRequestError(f"reason: more than {_REASON_CHARACTERS} characters", field="reason")
        rotate = self._keys(asked.use)
        rotated = await rotate(principal=caller.principal.id, reason=asked.reason, revoke=asked.revoke)
        return api.RotateKeyResponse(
            key=rotate.keys.ring.public.hex(), number=rotated.number, log_index=rotated.log_index
        )

    def _keys(self, number: int) -> RotateKeys[SigningRing]:
        use = _USES.get(number)
        found = self.keys.get(use) if use else None
        if found is None:
            raise InvalidRequestError(
                "use: no such key signs here", hint="Name evidence packages, or at a centre bundles", field="use"
            )
        return found


def _rotation(stored: StoredEvent) -> api.KeyRotation:
    details = stored.event.details()
    fields = ("number", "old", "new", "at_seconds", "grace", "by_old", "by_new")
    return api.KeyRotation(log_index=stored.index, **{name: details[name] for name in fields})
