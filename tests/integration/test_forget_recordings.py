"""``aisecops trace forget`` on real files: recordings go, unless a hold in the log names them or their agent."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.adapters.sqlite.recorded_traces import SqliteRecordedTraces
from aisecops_server.adapters.system import RandomIds, SystemClock
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.domain.recordings.recorded_trace import RecordedPrompt, RecordedTrace
from aisecops_server.domain.retention.keeping import HeldBy
from aisecops_server.usecases.retention.hold_traces import HoldTraces

FREE, BY_AGENT = "a" * 32, "b" * 32


def forget(folder: Path, *traces: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("aisecops")), "trace", "forget", *traces, "--state-dir", str(folder)]
    return subprocess.run([*command, "-o", "json"], capture_output=True, text=True, check=False, timeout=120)


async def write(folder: Path) -> None:
    store = SqliteRecordedTraces(folder / "traces.db")
    prompt = RecordedPrompt(SourceKind.USER_PROMPT, "find")
    for trace, agent in ((FREE, "agent-a"), (BY_AGENT, "agent-b")):
        await store.add([RecordedTrace(trace, agent, "", "production", (prompt,), ())])
    await store.close()
    log = open_log(folder / "audit.db", LogOptions(minimum_free_bytes=0))
    holds = HoldTraces(log, log.keeping, dict, SystemClock(), RandomIds())
    await holds.add(HeldBy.AGENT, ["agent-b"], principal="sam@corp.example", reason="case 17")
    await log.close()


async def left(folder: Path) -> list[str]:
    store = SqliteRecordedTraces(folder / "traces.db")
    found = [trace.trace_id for trace in await store.page(after="", limit=10)]
    await store.close()
    return found


def test_recordings_are_forgotten_and_held_ones_stay(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path))
    held = forget(tmp_path, FREE, BY_AGENT)
    assert held.returncode != ExitCode.OK
    assert "holds what is to be forgotten" in held.stdout
    assert asyncio.run(left(tmp_path)) == [FREE, BY_AGENT]
    done = forget(tmp_path, FREE, "c" * 32)
    assert done.returncode == ExitCode.NOT_FOUND
    assert json.loads(done.stdout) == {"forgotten": [FREE], "missing": ["c" * 32]}
    assert asyncio.run(left(tmp_path)) == [BY_AGENT]


def test_without_recordings_it_says_so(tmp_path: Path) -> None:
    done = forget(tmp_path, FREE)
    assert done.returncode == ExitCode.NOT_FOUND
    assert "no recordings were imported" in done.stdout
