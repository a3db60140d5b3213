"""Random tamperings with a log, a package and a log's history: are all found, and is the event named?

python -m benchmarks.tamper --rounds 10000

Each round takes the next kind in turn and a seed of its own, so that a round that is missed can be done again alone
(``--first SEED --rounds 1``). The database kinds are those of ``tests/fault/log_mutations.py``; every one of them
names the event that the check has to name. A history that is rewritten as a whole, with every hash made anew and the
log's own stolen key, is consistent in itself: it is held against the checkpoint that was signed before, and shown to a
witness.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import apsw
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.log.witnessing import Refused
from aisecops_server.usecases.log.witness import Cosign
from rich.console import Console
from rich.progress import track

from tests.fakes.checkpoints import ORIGIN, MemoryCheckpointStore, MemoryWitnessStore, publishing
from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog
from tests.fault.log_copies import copied, verified
from tests.fault.log_mutations import EVENTS, MUTATIONS, names, write_original
from tests.scenes.log.records import Records

FORKS = ("rewritten_with_its_key_before_a_checkpoint", "forked_with_its_key_before_a_witness")
KINDS = (*(mutation.__name__ for mutation in MUTATIONS), *FORKS)


@dataclass(frozen=True)
class Round:
    """What came of one: found at all, and with the event named."""

    seed: int
    kind: str
    found: bool
    named: bool
    told: str


def one(seed: int, *, original: Path) -> Round:
    kind = KINDS[seed % len(KINDS)]
    with tempfile.TemporaryDirectory(dir=original.parent) as folder:
        if kind in FORKS:
            return asyncio.run(_forked(seed, kind, Path(folder)))
        database = copied(original, Path(folder), str(seed))
        connection = apsw.Connection(str(database))
        expected = MUTATIONS[KINDS.index(kind)](connection, random.Random(seed))
        connection.close()
        report = asyncio.run(verified(database))
    return Round(seed, kind, not report.ok, names(expected, report.bad_index), report.problem)


async def _forked(seed: int, kind: str, folder: Path) -> Round:
    """Rewrite one event of a history, grow it to any length behind it, and sign it with the log's own key."""
    chance = random.Random(seed)
    events = [event for record in _records() for event in record.events]
    committed, changed = chance.randrange(1, len(events)), chance.randrange(len(events))
    changed = min(changed, committed - 1)
    log, forged = MemoryEventLog(), MemoryEventLog()
    for at, event in enumerate(events):
        await log.append_event(event)
        other = Records(f"forged-{seed}-").control_event()
        if at != changed or chance.random() < 0.8:
            await forged.append_event(other if at == changed else event)
    log.stored, store = log.stored[:committed], MemoryCheckpointStore()
    honest = publishing(folder, log, store=store)
    note = await honest()
    thief = publishing(folder, forged, store=store)
    if kind == FORKS[0]:
        try:
            await thief.check()
        except IntegrityError as error:
            return Round(seed, kind, found=True, named=str(committed) in error.message, told=error.message)
        return Round(seed, kind, found=False, named=False, told="")
    witness = Cosign(
        "witness.example",
        open_key(folder / "elsewhere", "witness"),
        {ORIGIN: honest.keys.public},
        MemoryWitnessStore(),
        FakeClock(),
        verifies_ed25519,
    )
    await witness(note, old_size=0, proof=())
    head = await forged.head()
    if head.size < committed:
        return Round(seed, kind, found=True, named=True, told="a log that shrank has nothing to prove")
    proof = await forged.consistency(committed, size=head.size) if committed < head.size else []
    answer = await witness(thief.keys.signed(head), old_size=committed, proof=proof)
    told = answer.why if isinstance(answer, Refused) else ""
    return Round(seed, kind, bool(told), str(committed) in told, told)


@cache
def _records() -> list[object]:
    make = Records()
    return [make.record(document=canonical_bytes({"n": number})) for number in range(8)]


def run(rounds: int, first: int, processes: int) -> list[Round]:
    """Do the rounds in several processes, on copies of one log that none of them changes."""
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / "audit.db"
        write_original(original)
        work: Callable[[int], Round] = partial(one, original=original)
        with ProcessPoolExecutor(processes) as pool:
            done = pool.map(work, range(first, first + rounds), chunksize=25)
            return list(track(done, "tampering", total=rounds, console=Console(stderr=True)))


def main() -> int:
    """Print what was found, by kind, and return 1 if anything was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first round")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    began = time.perf_counter()
    rounds = run(arguments.rounds, arguments.first, arguments.processes)
    missed = [done for done in rounds if not done.found]
    unnamed = [done for done in rounds if done.found and not done.named]
    report = {
        "rounds": len(rounds),
        "seconds": round(time.perf_counter() - began, 1),
        "events": EVENTS,
        "found": len(rounds) - len(missed),
        "named": sum(done.named for done in rounds),
        "kinds": dict(Counter(done.kind for done in rounds)),
        "missed": [vars(done) for done in missed[:20]],
        "unnamed": [vars(done) for done in unnamed[:20]],
    }
    print(json.dumps(report, indent=2))
    return 1 if missed or unnamed else 0


if __name__ == "__main__":
    raise SystemExit(main())
