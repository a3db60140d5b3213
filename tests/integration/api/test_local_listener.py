"""Where small services listen: for their owner alone, in the place of nobody who is there."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.local_http.listener import Purpose, own_socket, serving

pytestmark = pytest.mark.asyncio
PURPOSE = Purpose("tell the time", "clock_address", "Give a free port, or unix:PATH")


def application() -> web.Application:
    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    made = web.Application()
    made.router.add_get("/", hello)
    return made


async def asked(path: Path) -> str:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        session.get("http://here/") as answer,
    ):
        return await answer.text()


async def refusal(address: str) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError, match=f"cannot tell the time on {address}") as refused:
        async with serving(application(), address, PURPOSE):
            pass
    assert (refused.value.hint, refused.value.metadata()["field"]) == (PURPOSE.hint, "clock_address")
    return refused.value


async def test_a_socket_is_its_owners_and_goes_with_the_service(tmp_path: Path) -> None:
    path, before = tmp_path / "s.sock", os.umask(0)
    try:
        made = own_socket(path)
        # Bound, and not listened at yet: it never was anybody else's.
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        made.close()
        async with serving(application(), f"unix:{path}", PURPOSE) as address:
            assert (address, await asked(path)) == (f"unix:{path}", "hello")
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert not path.exists()


async def test_what_an_ended_process_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with serving(application(), f"unix:{path}", PURPOSE):
        assert await asked(path) == "hello"


async def test_nobody_who_listens_is_pushed_aside(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with serving(application(), f"unix:{path}", PURPOSE):
        assert "somebody listens there" in (await refusal(f"unix:{path}")).message
        assert await asked(path) == "hello"


@pytest.mark.parametrize("kind", ["file", "folder", "link to a file", "link to nothing"])
async def test_what_is_no_socket_is_not_touched(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "precious", tmp_path / "other"
    other.write_text("kept")
    match kind:
        case "file":
            path.write_text("kept")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to(other if kind.endswith("file") else tmp_path / "nowhere")
    assert "no socket" in (await refusal(f"unix:{path}")).message
    assert path.is_symlink() or path.exists()
    assert other.read_text() == "kept"


async def test_a_place_that_there_is_not_is_named(tmp_path: Path) -> None:
    assert "No such file" in (await refusal(f"unix:{tmp_path}/none/s.sock")).message
    await refusal(f"unix:{tmp_path}/{'x' * 200}")
