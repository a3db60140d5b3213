"""TransparencyService: checkpoints and proofs of the log."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

from aisecops.v1 import transparency_service_pb2 as api

from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.formats.signed_note import Note
from aisecops_server.domain.log.checkpoint import proof_text, read_checkpoint
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.methods import read_message
from aisecops_server.ports import EventLog
from aisecops_server.usecases.log.checkpoint import PublishCheckpoint
from aisecops_server.usecases.log.rotate_log_key import RotateLogKey


@dataclass(frozen=True, slots=True)
class TransparencyService:
    """The handlers of ``aisecops.v1.TransparencyService``."""

    log: EventLog
    publish: PublishCheckpoint
    rotate: RotateLogKey

    async def checkpoint(self, request: bytes, _caller: Caller) -> api.GetCheckpointResponse:
        """Answer GetCheckpoint."""
        read_message(api.GetCheckpointRequest, request)
        note = await self.publish()
        return api.GetCheckpointResponse(
            note=note.written(), log_key=self.publish.keys.public.text(), witnesses=self._witnesses(note)
        )

    async def prove_inclusion(self, request: bytes, _caller: Caller) -> api.ProveInclusionResponse:
        """Answer ProveInclusion."""
        index = read_message(api.ProveInclusionRequest, request).log_index
        body = await self._body(index)
        note = await self.publish()
        path = await self.publish.log.inclusion(index, size=read_checkpoint(note.text).head.size)
        return api.ProveInclusionResponse(proof=proof_text(index, path, note), body_json=body)

    async def prove_consistency(self, request: bytes, _caller: Caller) -> api.ProveConsistencyResponse:
        """Answer ProveConsistency."""
        asked = read_message(api.ProveConsistencyRequest, request)
        note = None if asked.size else await self.publish()
        size = asked.size if note is None else read_checkpoint(note.text).head.size
        # Size 0 is the beginning of everything, which proves nothing.
        path = await self.publish.log.consistency(asked.old_size or -1, size=size)
        return api.ProveConsistencyResponse(
            hashes=[node.hex() for node in path], size=size, note=note.written() if note else ""
        )

    async def rotate_key(self, request: bytes, caller: Caller) -> api.RotateLogKeyResponse:
        """Answer RotateLogKey."""
        asked = read_message(api.RotateLogKeyRequest, request)
        key, receipt = await self.rotate(principal=caller.principal.id, reason=asked.reason)
        return api.RotateLogKeyResponse(log_key=key.text(), log_index=receipt.log_index)

    async def _body(self, index: int) -> bytes:
        async with aclosing(self.log.events(from_index=max(index, 0), follow=False, trace_id="")) as events:
            async for stored in events:
                if stored.index == index:
                    return stored.event.body
                break
        raise NotFoundError(f"there is no event {index}", hint="Indices count from 0", id=str(index))

    def _witnesses(self, note: Note) -> list[api.WitnessState]:
        signed = {(line.name, line.key_id) for line in note.signatures}
        return [
            api.WitnessState(
                key=witness.key.text(),
                signed=(witness.key.name, witness.key.id) in signed,
                problem=self.publish.problems.get(witness.key.name, ""),
            )
            for witness in self.publish.witnesses
        ]
