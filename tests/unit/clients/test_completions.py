"""What came of calls is kept for its owner, bounded, and told in order until it is taken."""

from __future__ import annotations

import asyncio
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from aisecops.v1.execution_service_pb2 import CompleteRequest, CompleteResponse, ExecutionReport
from aisecops_client import AccessRefusedError, AisecopsClientError, FaultError, RequestRefusedError, RetryLaterError
from aisecops_client.completions import Completions, CompletionsByAgent
from aisecops_client.spool import MOST_BYTES, OLDEST_SECONDS, Kept, Spool, SpoolError

from tests.scenes.planes.engines import until

WHOSE = "unix:/run/aisecops.sock\n\nspiffe://corp.example/agent/desk"
AWAY = RetryLaterError("nobody answers", grpc.StatusCode.UNAVAILABLE)
RAN_OUT = AccessRefusedError("the token has expired", grpc.StatusCode.UNAUTHENTICATED)
# What a control plane says of a grant that it takes no report for: an incident, each time that it is asked.
SPENT = FaultError("the grant is spent", grpc.StatusCode.FAILED_PRECONDITION, reason="GRANT_NOT_USABLE")
UNKNOWN = RequestRefusedError("there is no such grant", grpc.StatusCode.INVALID_ARGUMENT)
STOLEN = AccessRefusedError("not yours", grpc.StatusCode.PERMISSION_DENIED)
FAULT = FaultError("sealed", grpc.StatusCode.INTERNAL)


def request(grant: str) -> CompleteRequest:
    return CompleteRequest(grant_id=grant, report=ExecutionReport(tool="mail/send"))


def opened(root: Path, key: str, *, whose: str = WHOSE, most: int = 8) -> Spool:
    return Spool.open(root / "spool", whose, key, most=most)


def left(spool: Spool) -> list[tuple[str, str]]:
    return [(kept.session, kept.request.grant_id) for kept in spool.left]


def open_locks(root: Path) -> int:
    """Return how many files under a folder this process has open."""
    handles = (os.path.realpath(handle) for handle in Path("/proc/self/fd").iterdir())
    return sum(path.startswith(str(root)) for path in handles)


class Plane:
    """Takes what it is told, but for what it refuses first."""

    def __init__(self, *refusals: AisecopsClientError) -> None:
        self.refusals = list(refusals)
        self.told: list[str] = []

    async def __call__(self, request: CompleteRequest) -> CompleteResponse:
        if self.refusals:
            raise self.refusals.pop(0)
        self.told.append(request.grant_id)
        return CompleteResponse()


async def at_once(seconds: float) -> None:
    assert seconds > 0
    # Others have their turn, as while it really waits.
    await asyncio.sleep(0)


def completions(spool: Spool | None = None, said: list[str] | None = None) -> Completions:
    return Completions(spool, (said if said is not None else []).append, at_once)


# --- the spool -------------------------------------------------------------------------------------------------------


def test_what_is_kept_is_for_its_owner_only_and_is_there_for_the_next_process_in_order(tmp_path: Path) -> None:
    first = opened(tmp_path, "first")
    for number in range(3):
        kept = first.keep(f"s{number % 2}", request(f"g{number}"))
        assert kept.path is not None
        assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
        first.secure(kept)
    first.close()
    second = opened(tmp_path, "second")
    assert left(second) == [("s0", "g0"), ("s1", "g1"), ("s0", "g2")]
    for kept in second.left:
        second.forget(kept)
    second.close()
    assert [found for found in (tmp_path / "spool").glob("*/*") if found.is_dir()] == []


def test_what_a_living_process_keeps_is_its_own_and_nobody_elses(tmp_path: Path) -> None:
    living = opened(tmp_path, "living")
    living.keep("s", request("g"))
    assert left(opened(tmp_path, "another")) == []
    assert left(opened(tmp_path, "of-another-agent", whose=f"{WHOSE}-2")) == []
    living.close()
    assert left(opened(tmp_path, "of-another-agent-again", whose=f"{WHOSE}-2")) == []
    assert left(opened(tmp_path, "next")) == [("s", "g")]


def test_what_several_processes_left_is_bounded_and_the_rest_waits(tmp_path: Path) -> None:
    for number in range(3):
        spool = opened(tmp_path, f"p{number}")
        spool.keep("s", request(f"g{number}"))
        os.utime(spool.folder, ns=(number, number))
        # As when it is killed: nothing is put in order.
        os.close(spool._lock)
    bounded = opened(tmp_path, "bounded", most=2)
    assert left(bounded) == [("s", "g0"), ("s", "g1")]
    with pytest.raises(SpoolError, match="wait"):
        bounded.keep("s", request("g"))
    for kept in bounded.left:
        bounded.forget(kept)
    bounded.close()
    assert left(opened(tmp_path, "last")) == [("s", "g2")]


def test_half_a_file_is_nothing_and_a_broken_one_is_told_of_and_removed(tmp_path: Path) -> None:
    spool = opened(tmp_path, "killed")
    (spool.folder / "00000007.half").write_bytes(b"s\n\x0a")
    (spool.folder / "00000008").write_bytes(b"\xff\xfe broken")
    spool.close()
    said: list[str] = []
    found = opened(tmp_path, "next")
    completions(found, said)
    assert len(said) == 1
    assert "says nothing that can be told" in said[0]
    assert [path.name for path in found.folder.iterdir()] == [".lock"]


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777])
def test_a_folder_that_others_look_into_keeps_nothing(tmp_path: Path, mode: int) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(mode)
    with pytest.raises(SpoolError, match="others may look into"):
        opened(tmp_path, "any")


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "spool").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolError):
        opened(tmp_path, "any")


def test_who_closes_and_who_opens_at_once_lose_nothing_and_leave_no_folder(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir(mode=0o700)
    kept: set[str] = set()
    found: set[str] = set()

    def process(number: int) -> None:
        for turn in range(20):
            name = f"g{number}-{turn}"
            spool = opened(tmp_path, f"p{number}-{turn}", most=1000)
            told = [old.request.grant_id for old in spool.left]
            for old in spool.left:
                spool.forget(old)
            # Half of them end with something left to tell.
            if turn % 2:
                spool.keep("s", request(name))
                kept.add(name)
            found.update(told)
            spool.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(process, range(4)))
    last = opened(tmp_path, "last", most=1000)
    found.update(grant for _, grant in left(last))
    assert found == kept
    for old in last.left:
        last.forget(old)
    last.close()
    assert [folder for folder in (tmp_path / "spool").glob("*/*") if folder.is_dir()] == []


def test_what_others_put_there_is_left_alone_and_told_of(tmp_path: Path) -> None:
    killed = opened(tmp_path, "killed")
    killed.keep("s", request("g"))
    (tmp_path / "secret").write_bytes(b"s\n" + request("theirs").SerializeToString())
    strange = [killed.folder / name for name in ("00000001", "00000002", "00000003", "00000004", "x\nforged", "٣")]
    strange[0].mkdir()
    strange[1].symlink_to(tmp_path / "secret")
    os.mkfifo(strange[2])
    strange[3].write_bytes(b"\0" * (MOST_BYTES + 1))
    for path in strange[4:]:
        path.write_bytes(b"s\n" + request("theirs").SerializeToString())
    killed.close()
    place = killed.folder.parent
    (place / "linked").symlink_to(tmp_path)
    (place / "lock is a link").mkdir()
    (place / "lock is a link" / ".lock").symlink_to(tmp_path / "secret")
    found = opened(tmp_path, "next")
    assert left(found) == [("s", "g")]
    assert len(found.notes) == len(strange) + 1
    # A name is shown so that it forges no line.
    assert "\n" not in "".join(found.notes)
    assert all(path.is_symlink() or path.exists() for path in strange)
    assert (tmp_path / "secret").read_bytes().endswith(request("theirs").SerializeToString())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 300,
        b"s",
        b"s\n",
        b"s\n" + CompleteRequest(grant_id="torn after the grant").SerializeToString(),
        b"s\n" + request("g").SerializeToString()[:-1],
        b"\xff\n" + request("g").SerializeToString(),
        b"s\n" + request("g\n2026-01-01 WARNING forged").SerializeToString(),
        b"s\n" + request("g" * 300).SerializeToString(),
    ],
    ids=["empty", "zeros", "no-line", "no-report", "torn", "torn-inside", "no-text", "forged-line", "long"],
)
def test_what_says_nothing_that_can_be_told_is_removed_and_the_rest_is_told(tmp_path: Path, data: bytes) -> None:
    killed = opened(tmp_path, "killed")
    killed.keep("s", request("before"))
    (killed.folder / "00000001").write_bytes(data)
    (killed.folder / "00000002").write_bytes(b"s\n" + request("after").SerializeToString())
    killed.close()
    said: list[str] = []
    found = opened(tmp_path, "next")
    telling = completions(found, said)
    assert ["says nothing that can be told" in line for line in said] == [True, False]
    assert "forged" not in "".join(said)
    assert [kept.request.grant_id for kept in telling._waiting["s"]] == ["before", "after"]
    assert len([path for path in found.folder.iterdir() if path.name != ".lock"]) == 2


def test_what_could_not_be_told_for_a_month_is_dropped_and_told_of(tmp_path: Path) -> None:
    killed = opened(tmp_path, "killed")
    kept = killed.keep("s", request("old"))
    assert kept.path is not None
    killed.keep("s", request("new"))
    killed.close()
    os.utime(kept.path, (0, 0))
    found = opened(tmp_path, "next")
    assert left(found) == [("s", "new")]
    assert found.notes == ["what came of the grant old is dropped: it could not be told for too long"]


@pytest.mark.asyncio
async def test_what_waits_too_long_in_a_living_process_is_dropped_and_told_of(tmp_path: Path) -> None:
    plane, said = Plane(AWAY), list[str]()
    spool = opened(tmp_path, "p")
    spool.clock = lambda: 2 * OLDEST_SECONDS + spool.folder.stat().st_mtime
    telling = completions(spool, said)
    telling.join(plane)
    telling.add("s", request("old"))
    telling.add("s", request("next"))
    await telling.settle("s")
    assert plane.told == ["next"]
    assert said[1] == "what came of the grant old is dropped: it could not be told for too long"
    assert [path.name for path in spool.folder.iterdir()] == [".lock"]


def test_what_is_larger_than_a_report_is_not_kept(tmp_path: Path) -> None:
    spool = opened(tmp_path, "p", most=1)
    with pytest.raises(SpoolError, match="bytes"):
        spool.keep("s" * MOST_BYTES, request("g"))
    # It has taken nobody's place.
    assert spool.keep("s", request("g")).path is not None


class Broken(Spool):
    """Fails where it takes over."""

    def _take_over(self, place: Path) -> None:
        raise OSError(28, "No space left on device")


def test_a_take_over_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    opened(tmp_path, "killed").close()
    before = open_locks(tmp_path)
    with pytest.raises(SpoolError, match="No space left"):
        Broken.open(tmp_path / "spool", WHOSE, "next")
    assert open_locks(tmp_path) == before == 0


# --- telling ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("trouble", [AWAY, RAN_OUT, FAULT], ids=lambda error: error.code.name)
async def test_a_session_is_told_in_order_however_often_it_takes(tmp_path: Path, trouble: AisecopsClientError) -> None:
    plane, said = Plane(*[trouble] * 20), list[str]()
    telling = completions(opened(tmp_path, "p"), said)
    telling.join(plane)
    for number in range(5):
        telling.add("s", request(f"g{number}"))
    await telling.settle("s")
    assert plane.told == [f"g{number}" for number in range(5)]
    # What is not told at once is said once, and not twenty times.
    assert [line.split(":")[0] for line in said] == ["what came of the grant g0 could not be told yet"]
    assert telling.spool is not None
    assert [found.name for found in telling.spool.folder.iterdir()] == [".lock"]


@pytest.mark.asyncio
@pytest.mark.parametrize("refusal", [UNKNOWN, STOLEN, SPENT], ids=lambda error: error.code.name)
async def test_what_is_never_taken_holds_nothing_else_up(tmp_path: Path, refusal: AisecopsClientError) -> None:
    plane, said = Plane(refusal), list[str]()
    telling = completions(opened(tmp_path, "p"), said)
    telling.join(plane)
    telling.add("s", request("g0"))
    telling.add("s", request("g1"))
    await telling.settle("s")
    assert (plane.told, len(said)) == (["g1"], 1)
    assert "g0 is not taken" in said[0]


@pytest.mark.asyncio
async def test_a_session_that_waits_holds_no_other_up() -> None:
    gate, told = asyncio.Event(), list[str]()

    async def plane(request: CompleteRequest) -> CompleteResponse:
        if request.grant_id == "slow":
            await gate.wait()
        told.append(request.grant_id)
        return CompleteResponse()

    telling = completions()
    telling.join(plane)
    telling.add("one", request("slow"))
    telling.add("one", request("after"))
    telling.add("two", request("quick"))
    await telling.settle("two")
    assert told == ["quick"]
    gate.set()
    await telling.settle("one")
    assert told == ["quick", "slow", "after"]


@pytest.mark.asyncio
async def test_what_comes_while_the_last_is_being_told_is_told_too() -> None:
    plane = Plane()
    telling = completions()

    async def tell(told: CompleteRequest) -> CompleteResponse:
        if told.grant_id == "g0":
            telling.add("s", request("g1"))
        return await plane(told)

    telling.join(tell)
    telling.add("s", request("g0"))
    await telling.settle("s")
    assert plane.told == ["g0", "g1"]


@pytest.mark.asyncio
async def test_a_credential_that_is_given_up_leaves_its_calls_to_the_next(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def given_up(_request: CompleteRequest) -> CompleteResponse:
        asked.set()
        # As a connection does that is closed while it is asked over.
        raise asyncio.CancelledError

    plane, telling = Plane(), completions(opened(tmp_path, "p"))
    telling.join(given_up)
    telling.add("s", request("g"))
    await asked.wait()
    telling.leave(given_up)
    telling.join(plane)
    await telling.settle("s")
    assert plane.told == ["g"]


@pytest.mark.asyncio
async def test_who_ends_without_an_answer_says_so_and_the_next_tells_it(tmp_path: Path) -> None:
    def by_agent(key: str, said: list[str]) -> CompletionsByAgent:
        return CompletionsByAgent(lambda agent: opened(tmp_path, key, whose=agent), said.append)

    said: list[str] = []
    first = by_agent("first", said)
    first.of("a").add("s", request("g"))
    await first.close()
    assert said == ["what came of the grant g could not be told: it is kept, and told when this is run again"]
    plane, second = Plane(), by_agent("second", [])
    second.of("b").join(Plane())
    second.of("a").join(plane)
    await second.of("a").settle("s")
    assert plane.told == ["g"]
    await second.close()


@pytest.mark.asyncio
async def test_without_a_place_to_keep_it_a_call_is_told_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    said: list[str] = []
    every = CompletionsByAgent(lambda agent: opened(tmp_path, "p", whose=agent), said.append)
    plane, telling = Plane(), every.of("a")
    telling.join(plane)
    telling.add("s", request("g"))
    await telling.settle("s")
    assert (plane.told, len(said)) == (["g"], 1)
    assert "is lost if this ends" in said[0]


@pytest.mark.asyncio
async def test_a_disk_that_is_full_costs_no_call_its_answer(tmp_path: Path) -> None:
    plane, said = Plane(), list[str]()
    spool = opened(tmp_path, "p", most=1)
    telling = completions(spool, said)
    telling.add("s", request("g0"))
    telling.add("s", request("g1"))
    telling.join(plane)
    await telling.settle("s")
    assert plane.told == ["g0", "g1"]
    assert [line.partition(":")[0] for line in said] == ["what came of the grant g1 is in memory only"]


@pytest.mark.asyncio
async def test_agents_who_come_and_go_leave_nothing_open(tmp_path: Path) -> None:
    every = CompletionsByAgent(lambda agent: opened(tmp_path, f"of-{agent}", whose=agent), lambda _: None)
    for number in range(50):
        plane, telling = Plane(), every.of(f"agent-{number}")
        telling.join(plane)
        telling.add("s", request("g"))
        await telling.settle("s")
        telling.leave(plane)
        assert plane.told == ["g"]
    assert open_locks(tmp_path) == 0
    # Who comes again is kept for again.
    back = Plane()
    every.of("agent-7").join(back)
    every.of("agent-7").add("s", request("again"))
    assert len(list((tmp_path / "spool").glob("*/of-agent-7/0*"))) == 1
    await every.of("agent-7").settle("s")
    assert back.told == ["again"]
    await every.close()


@pytest.mark.asyncio
async def test_a_place_that_comes_back_is_used_by_who_comes_next(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    said: list[str] = []
    telling = CompletionsByAgent(lambda agent: opened(tmp_path, "p", whose=agent), said.append).of("a")
    first = Plane()
    telling.join(first)
    telling.leave(first)
    (tmp_path / "spool").unlink()
    telling.join(Plane())
    assert (telling.spool is not None, len(said)) == (True, 1)
    await telling.close()


@dataclass
class Secured(Spool):
    """Notes what was to outlive the machine."""

    secured: list[str] = field(default_factory=list)

    def secure(self, kept: Kept) -> None:
        self.secured.append(kept.request.grant_id)
        super().secure(kept)


@pytest.mark.asyncio
async def test_all_that_waits_behind_what_is_late_outlives_the_machine(tmp_path: Path) -> None:
    plain = opened(tmp_path, "p")
    spool = Secured(plain.folder, plain.left, plain.most, plain._lock)
    away, release = asyncio.Event(), asyncio.Event()

    async def pause(_seconds: float) -> None:
        away.set()
        await release.wait()

    plane = Plane(AWAY)
    telling = Completions(spool, lambda _: None, pause)
    telling.join(plane)
    telling.add("s", request("g0"))
    telling.add("s", request("g1"))
    await away.wait()
    telling.add("s", request("g2"))
    telling.add("in time", request("other"))
    await telling.settle("in time")
    await until(lambda: sorted(spool.secured) == ["g0", "g1", "g2"])
    release.set()
    await telling.settle("s")
    assert plane.told == ["other", "g0", "g1", "g2"]
    await telling.close()
