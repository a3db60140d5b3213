"""What every ``ProvenLog`` must do, beside ``EventLogContract``, whose ``log`` it shares."""

from __future__ import annotations

import pytest
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.log.merkle import is_consistent, is_included, leaf_hash, root_of

from tests.scenes.log.records import Records

# Past two stored subtrees of 256 leaves, and not at the end of one.
DECISIONS = 101
EVENTS = 6 * DECISIONS
SIZES = (1, 2, 255, 256, 257, 511, 512, 513, EVENTS)


class ProvenLogContract:
    """The suite."""

    async def _filled(self, log) -> list[bytes]:
        make = Records()
        records = [make.record() for _ in range(DECISIONS)]
        await log.append_many(records)
        return [leaf_hash(stored.event.body) async for stored in log.events(from_index=0, follow=False, trace_id="")]

    @pytest.mark.asyncio
    async def test_the_head_at_any_size_is_the_root_over_those_events(self, log) -> None:
        leaves = await self._filled(log)
        for size in (0, *SIZES):
            head = await log.head_at(size)
            assert (head.size, head.root) == (size, root_of(leaves[:size]))
        assert await log.head_at(EVENTS) == await log.head()

    @pytest.mark.asyncio
    async def test_every_event_is_proved_at_every_size_that_holds_it(self, log) -> None:
        leaves = await self._filled(log)
        for size in SIZES:
            root = (await log.head_at(size)).root
            for index in {0, size // 3, size - 1}:
                proof = await log.inclusion(index, size=size)
                assert is_included(leaves[index], index, size=size, root=root, proof=proof)
                assert not is_included(leaf_hash(b"forged"), index, size=size, root=root, proof=proof)

    @pytest.mark.asyncio
    async def test_every_size_is_proved_to_extend_every_earlier_one(self, log) -> None:
        await self._filled(log)
        heads = [await log.head_at(size) for size in SIZES]
        for new in heads:
            for old in heads[: heads.index(new) + 1]:
                proof = await log.consistency(old.size, size=new.size)
                assert is_consistent(
                    old_size=old.size, old_root=old.root, new_size=new.size, new_root=new.root, proof=proof
                )
        assert await log.consistency(0, size=EVENTS) == []

    @pytest.mark.asyncio
    async def test_what_the_log_does_not_hold_cannot_be_proved(self, log) -> None:
        await log.append(Records().record())
        with pytest.raises(InvalidRequestError):
            await log.head_at(7)
        with pytest.raises(InvalidRequestError):
            await log.inclusion(6, size=6)
        with pytest.raises(InvalidRequestError):
            await log.inclusion(-1, size=6)
        with pytest.raises(InvalidRequestError):
            await log.consistency(4, size=3)
        with pytest.raises(InvalidRequestError):
            await log.consistency(-1, size=3)

    @pytest.mark.asyncio
    async def test_a_log_has_an_identity_that_a_restart_keeps(self, log) -> None:
        identity = await log.identity()
        assert len(bytes.fromhex(identity)) == 16
        await log.close()
        again = await self.open()
        assert await again.identity() == identity
        await again.close()

    @pytest.mark.asyncio
    async def test_a_sealed_log_takes_nothing_and_still_proves(self, log) -> None:
        await log.append(Records().record())
        log.seal("somebody said so")
        assert log.sealed == "somebody said so"
        with pytest.raises(Exception, match="somebody said so"):
            await log.append(Records("x").record())
        assert (await log.head()).size == 6
        assert await log.inclusion(0, size=6)
