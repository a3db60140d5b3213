"""What came of a guarded call is kept before its result is handed on, and told in order until it is taken."""

from __future__ import annotations

import asyncio
import base64
import gc
import itertools
import json
import logging
import multiprocessing
import os
import threading
from pathlib import Path

import grpc
import pytest
from aisecops.v1.execution_service_pb2 import CompleteRequest, CompleteResponse, ExecutionReport
from aisecops_client import AccessRefusedError, AisecopsClientError, AsyncGuard, Client, Guard, RetryLaterError
from aisecops_client.aio import AsyncClient
from aisecops_client.keeping import AsyncTelling, Telling, whose_spool
from aisecops_client.spool import Spool, SpoolError

from tests.scenes.planes.engines import until

WHOSE = whose_spool("unix:/run/aisecops.sock", "", "", "spiffe://corp.example/agent/desk")
AWAY = RetryLaterError("nobody answers", grpc.StatusCode.UNAVAILABLE)
STOLEN = AccessRefusedError("not yours", grpc.StatusCode.PERMISSION_DENIED)
SECONDS = 60
NUMBERS = itertools.count()


def token(subject: str) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"sub": subject}).encode()).decode().rstrip("=")
    return f"e30.{claims}.signature"


def request(grant: str) -> CompleteRequest:
    return CompleteRequest(grant_id=grant, report=ExecutionReport(tool="mail/send"))


def key() -> str:
    return f"{os.getpid()}-{next(NUMBERS)}"


class Plane:
    """Takes what it is told, but for what it refuses first; then it is ``away`` for as long as it is said to be."""

    def __init__(self, *refusals: AisecopsClientError, incidents: tuple[str, ...] = ()) -> None:
        self.refusals, self.incidents = list(refusals), incidents
        self.told: list[str] = []
        self.away = False
        self.taken = threading.Event()

    def complete(self, told: CompleteRequest) -> CompleteResponse:
        if self.away:
            raise AWAY
        if self.refusals:
            raise self.refusals.pop(0)
        self.told.append(told.grant_id)
        self.taken.set()
        return CompleteResponse(incidents=self.incidents)

    async def acomplete(self, told: CompleteRequest) -> CompleteResponse:
        return self.complete(told)


def files(root: Path) -> list[Path]:
    return [path for path in root.glob("*/*/*") if not path.name.startswith(".")]


def held(root: Path) -> int:
    """Return how many files under a folder this process has open."""
    handles = (os.path.realpath(handle) for handle in Path("/proc/self/fd").iterdir())
    return sum(path.startswith(str(root)) for path in handles)


# --- whose it is ------------------------------------------------------------------------------------------------------


def test_a_spool_is_of_whom_the_token_names_or_else_of_the_agent_that_is_given() -> None:
    assert whose_spool("unix:/s", "acme", token("desk"), "other") == "unix:/s\nacme\ndesk"
    assert whose_spool("unix:/s", "", "", "other") == "unix:/s\n\nother"


@pytest.mark.parametrize("given", ["", "no token", "a.b", "e30.e30.e30", f"e30.{'W10'}.x", "e30.\xff.x"])
def test_a_spool_of_nobody_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="agent_id"):
        whose_spool("unix:/s", "", given, "")
    with pytest.raises(ValueError, match="control plane"):
        whose_spool("", "", token("desk"), "")


# --- the blocking guard -----------------------------------------------------------------------------------------------


def test_what_is_told_at_once_is_on_disk_before_and_not_after(tmp_path: Path) -> None:
    seen = []

    def complete(told: CompleteRequest) -> CompleteResponse:
        seen.append((told.grant_id, len(files(tmp_path / "spool"))))
        return CompleteResponse()

    telling = Telling(tmp_path / "spool", WHOSE, complete, key)
    telling.told(request("g0"))
    telling.told(request("g1"))
    assert (seen, files(tmp_path / "spool")) == ([("g0", 1), ("g1", 1)], [])
    # Nothing had to wait, so there is no thread that could.
    assert not [thread for thread in threading.enumerate() if thread.name == "aisecops-tell"]
    telling.close()
    assert held(tmp_path) == 0


def test_what_is_wrong_with_a_call_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plane = Plane(STOLEN, incidents=("arguments_differ",))
    telling = Telling(tmp_path / "spool", WHOSE, plane.complete, key)
    with caplog.at_level(logging.WARNING):
        telling.told(request("g0"))
        telling.told(request("g1"))
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "what came of the grant g0 is not taken",
        "the call by grant g1 is an incident",
    ]
    assert files(tmp_path / "spool") == []
    telling.close()


@pytest.mark.asyncio
async def test_what_waits_is_told_in_order_and_nobody_waits_for_it(tmp_path: Path) -> None:
    plane = Plane()
    plane.away = True
    telling = Telling(tmp_path / "spool", WHOSE, plane.complete, key)
    for number in range(3):
        telling.told(request(f"g{number}"))
    assert len(files(tmp_path / "spool")) == 3
    plane.away = False
    telling.catch_up()
    await until(lambda: not files(tmp_path / "spool"))
    assert plane.told == ["g0", "g1", "g2"]
    telling.told(request("g3"))
    assert plane.told[3:] == ["g3"]
    telling.close()


def test_what_is_not_told_when_it_is_closed_is_told_by_the_next_and_once(tmp_path: Path) -> None:
    away, plane = Plane(), Plane()
    away.away = True
    first = Telling(tmp_path / "spool", WHOSE, away.complete, key)
    first.told(request("g"))
    first.close()
    assert held(tmp_path) == 0
    second = Telling(tmp_path / "spool", WHOSE, plane.complete, key)
    assert plane.taken.wait(SECONDS)
    second.close()
    assert (plane.told, files(tmp_path / "spool")) == (["g"], [])


def test_a_client_that_is_closed_first_leaves_it_to_the_next(tmp_path: Path) -> None:
    client = Client.connect(f"unix:{tmp_path}/nobody.sock", token("desk"))
    with Guard(client, spool=tmp_path / "spool") as guard:
        assert guard._keeper is not None
        guard._keeper.told(request("g"))
        client.close()
    assert len(files(tmp_path / "spool")) == 1


def test_a_guard_that_nobody_has_any_more_leaves_nothing_open(tmp_path: Path) -> None:
    with Client.connect("unix:/nowhere", token("desk")) as client:
        for _ in range(10):
            Guard(client, spool=tmp_path / "spool")
        gc.collect()
        assert held(tmp_path) == 0


def test_a_guard_whose_spool_cannot_be_opened_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    with Client.connect("unix:/nowhere", token("desk")) as client, pytest.raises(SpoolError):
        Guard(client, spool=tmp_path / "spool")
    with Client.connect("unix:/nowhere", "opaque") as client, pytest.raises(ValueError, match="agent_id"):
        Guard(client, spool=tmp_path / "other")


def test_the_environment_names_the_folder_and_the_argument_is_stronger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AISECOPS_SPOOL_DIR", str(tmp_path / "named"))
    with Client.connect("unix:/nowhere", token("desk")) as client:
        assert Guard(client, spool="")._keeper is None
        assert not (tmp_path / "named").exists()
        Guard(client, spool=tmp_path / "given").close()
        assert (tmp_path / "given").is_dir()
        assert not (tmp_path / "named").exists()
        Guard(client).close()
        assert (tmp_path / "named").is_dir()
        monkeypatch.delenv("AISECOPS_SPOOL_DIR")
        assert Guard(client)._keeper is None


def _in_child(telling: Telling, plane: Plane) -> None:
    plane.away = True
    telling.told(request("child"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_process_that_was_forked_keeps_in_a_folder_of_its_own(tmp_path: Path) -> None:
    plane = Plane()
    plane.away = True
    telling = Telling(tmp_path / "spool", WHOSE, plane.complete, key)
    telling.told(request("parent"))
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(telling, plane))
    child.start()
    child.join(SECONDS)
    assert child.exitcode == 0
    found = files(tmp_path / "spool")
    assert (len(found), len({path.parent for path in found})) == (2, 2)
    # What the parent keeps is still the parent's: the child's end let nobody have it.
    next_one = Spool.open(tmp_path / "spool", WHOSE, "next")
    assert [kept.request.grant_id for kept in next_one.left] == ["child"]
    next_one.close()
    telling.close()


# --- the guard for asyncio --------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_coroutines_keep_and_tell_in_the_same_way(tmp_path: Path) -> None:
    plane = Plane()
    plane.away = True
    first = AsyncTelling(tmp_path / "spool", WHOSE, plane.acomplete, key)
    for number in range(3):
        await first.told(request(f"g{number}"))
    assert len(files(tmp_path / "spool")) == 3
    # As when its event loop is gone: nobody closes it, and it is nobody's any more.
    first.let_go()
    plane.away = False
    second = AsyncTelling(tmp_path / "spool", WHOSE, plane.acomplete, key)
    await until(lambda: not files(tmp_path / "spool"))
    assert plane.told == ["g0", "g1", "g2"]
    await second.told(request("g3"))
    await second.close()
    assert (plane.told[3:], files(tmp_path / "spool")) == (["g3"], [])


@pytest.mark.asyncio
async def test_a_call_that_depends_on_one_that_waits_is_asked_after_it(tmp_path: Path) -> None:
    plane = Plane(AWAY)
    telling = AsyncTelling(tmp_path / "spool", WHOSE, plane.acomplete, key)
    await telling.told(request("g0"))
    await telling.catch_up()
    assert plane.told == ["g0"]
    await telling.close()
    assert held(tmp_path) == 0


def test_a_guard_that_is_made_before_its_event_loop_begins_in_it(tmp_path: Path) -> None:
    async def ended() -> None:
        async with AsyncClient.connect("unix:/nowhere", token("desk")) as client:
            made = await asyncio.to_thread(AsyncGuard, client, spool=tmp_path / "spool")
            async with made as guard:
                assert guard._keeper is not None

    asyncio.run(ended())
    assert held(tmp_path) == 0
