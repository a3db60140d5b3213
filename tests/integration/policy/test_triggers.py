"""A Git host rings, and what was pushed is live; whoever else rings is turned away. Releases are followed by name."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from pathlib import Path

import aiohttp
import pytest
from aisecops_server.adapters.git.mirror import GitRepository
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.bundles.push_notice import PushNotices
from aisecops_server.domain.callers.refusal import Refusal
from aisecops_server.domain.errors import InvalidRequestError, UnknownRevisionError
from aisecops_server.entrypoints.hooks import app as hooks
from aisecops_server.entrypoints.hooks.app import MOST_BYTES, listening
from aisecops_server.settings import Settings
from aisecops_server.usecases.bundles.sync import Bell

from tests.integration.api.real import settings_in
from tests.scenes.planes.engines import until
from tests.scenes.policy.git_remotes import Remote

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

SECRET = b"a secret of the Git host"
MODES = b"# %d\ndefault: enforce\nagents: {}\nrules: {}\n"


def settings_of(root: Path) -> Settings:
    """Return settings of a control plane that would not read its repository again by itself for an hour."""
    secret = root / "secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    address = f"unix:{root}/hook.sock"
    return settings_in(root).model_copy(update={"trigger_address": address, "trigger_secret_file": secret})


def signature(body: bytes) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()}


async def ring(root: Path, body: bytes, headers: dict[str, str]) -> int:
    connector = aiohttp.UnixConnector(path=f"{root}/hook.sock")
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post("http://localhost/hooks/git", data=body, headers=headers) as answer,
    ):
        return answer.status


async def until_live(plane: ControlPlane, commit: str) -> None:
    async with asyncio.timeout(120):
        while True:
            if plane.live.current().bundle.revision == commit:
                return
            await asyncio.sleep(0.02)


async def test_what_was_pushed_is_live_when_the_host_has_rung_whatever_its_message_says(tmp_path: Path) -> None:
    remote = Remote(tmp_path / "policy")
    async with serving(settings_of(tmp_path)) as (plane, _server):
        first = remote.commit({"data/modes.yaml": MODES % 1}, "one")
        # The message names another commit and another branch; it is a bell and nothing else.
        body = json.dumps(
            {"ref": "refs/heads/evil", "after": "0" * 40, "repository": {"clone_url": "file:///"}}
        ).encode()
        assert await ring(tmp_path, body, signature(body)) == 202
        await until_live(plane, first)
        second = remote.commit({"data/modes.yaml": MODES % 2}, "two")
        token = {"X-Gitlab-Token": SECRET.decode(), "X-Gitlab-Event-UUID": "delivery-1"}
        assert await ring(tmp_path, b"{}", token) == 202
        await until_live(plane, second)
        assert await ring(tmp_path, body, signature(body)) == 409
        assert await ring(tmp_path, b"{}", token) == 409


async def test_who_is_not_the_host_is_turned_away_and_noted(tmp_path: Path) -> None:
    rung: list[int] = []
    refusals: list[Refusal] = []
    notices = PushNotices(SECRET)
    bells = {"": hooks.Bell(notices, lambda: rung.append(1), refusals.append)}
    async with listening(bells, refusals.append, f"unix:{tmp_path}/hook.sock"):
        large = b"x" * (MOST_BYTES + 1)
        for body, headers, status in (
            (b"{}", {}, 401),
            (b"{}", signature(b"{ }"), 401),
            (b"{}", {"X-Gitlab-Token": "guess"}, 401),
            (large, signature(large), 413),
        ):
            assert await ring(tmp_path, body, headers) == status
        assert rung == []
        assert await ring(tmp_path, b"{}", signature(b"{}")) == 202
    assert [refusal.why for refusal in refusals] == ["signature", "signature", "signature", "size"]
    assert ({refusal.call for refusal in refusals}, rung) == ({"/hooks/git"}, [1])


CUT = b"POST /hooks/git HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("sent", "then", "why"),
    [
        (b"Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\ngarbage", "waits", "signature"),
        (b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}", "waits", "signature"),
        (b"Content-Length: 100\r\n\r\n{}", "leaves", "cut"),
        (b"Content-Length: 100\r\n\r\n{}", "waits", "late"),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "waits", "late"),
    ],
)
async def test_what_never_comes_to_its_end_is_turned_away_and_is_no_fault_of_ours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sent: bytes, then: str, why: str
) -> None:
    rung: list[int] = []
    refusals: list[Refusal] = []
    bells = {"": hooks.Bell(PushNotices(SECRET), lambda: rung.append(1), refusals.append)}
    async with listening(bells, refusals.append, f"unix:{tmp_path}/hook.sock", most_seconds=0.5):
        _, writer = await asyncio.open_unix_connection(f"{tmp_path}/hook.sock")
        writer.write(CUT + sent)
        await writer.drain()
        if then == "leaves":
            writer.close()
        await until(lambda: bool(refusals))
        writer.close()
        assert await ring(tmp_path, b"{}", signature(b"{}")) == 202
    assert [refusal.why for refusal in refusals] == [why]
    assert (rung, [record for record in caplog.records if record.levelname == "ERROR"]) == ([1], [])


async def test_a_delivery_is_played_again_under_no_other_body_name_or_way_of_proof() -> None:
    notices, body = PushNotices(SECRET), b'{"ref": "refs/heads/main"}'
    genuine = {name.lower(): value for name, value in signature(body).items()}
    assert notices.refusal(genuine, body) == ""
    for other in (body + b" ", body.replace(b"main", b"evil"), b"", body[:-1]):
        assert notices.refusal(genuine, other) == "signature"
    for more in ({}, {"x-github-delivery": "another"}, {"x-gitlab-event-uuid": "another"}, {"x-gitlab-token": "guess"}):
        assert notices.refusal({**genuine, **more}, body) == "replayed"
    # A host that shows a token vouches for no body: what is known again is the delivery that it names.
    token = {"x-gitlab-token": SECRET.decode(), "x-gitlab-event-uuid": "delivery-1"}
    assert [notices.refusal(token, each) for each in (b"{}", b'{"other": 1}', b"")] == ["", "replayed", "replayed"]


async def test_whoever_rings_often_is_heard_once_a_round() -> None:
    bell, rounds = Bell(), 0
    for _ in range(100):
        bell.ring()
    async with asyncio.timeout(60):
        await bell.pause(3600)
    rounds += 1
    waiting = asyncio.ensure_future(bell.pause(3600))
    await asyncio.sleep(0)
    assert (rounds, waiting.done()) == (1, False)
    bell.ring()
    async with asyncio.timeout(60):
        await waiting


@pytest.mark.parametrize("mode", [0o644, 0o640])
async def test_a_secret_that_others_can_read_is_none(tmp_path: Path, mode: int) -> None:
    settings = settings_of(tmp_path)
    assert settings.trigger_secret_file is not None
    settings.trigger_secret_file.chmod(mode)
    with pytest.raises(InvalidRequestError, match="read by others"):
        async with serving(settings):
            pass


@pytest.mark.parametrize("address", ["0.0.0.0:0", "example.org:80", "nowhere", "127.0.0.1:x"])
async def test_nobody_beyond_this_machine_reaches_it(tmp_path: Path, address: str) -> None:
    settings = settings_of(tmp_path).model_copy(update={"trigger_address": address})
    with pytest.raises(InvalidRequestError, match="cannot wait for Git hosts"):
        async with serving(settings):
            pass


async def test_the_highest_release_is_followed_by_tag_or_branch(tmp_path: Path) -> None:
    remote = Remote.make(tmp_path / "remote")
    commits = {}
    for tag in ("v1.9", "v1.10-rc1", "v1.10"):
        commits[tag] = remote.commit({"data/x.yaml": tag.encode()}, tag)
        remote.git("tag", "--annotate", "--message", tag, tag)
    commits["later"] = remote.commit({"data/x.yaml": b"later"}, "later")
    remote.git("branch", "release/1", commits["v1.9"])
    remote.git("branch", "release/12", commits["v1.10"])

    def following(follow: str) -> GitRepository:
        mirror = tmp_path / "mirror.git"
        return GitRepository(str(remote.path), mirror=mirror, branch="main", fetch_timeout_seconds=30.0, follow=follow)

    for follow, expected in (("tag:v*", "v1.10"), ("branch:release/*", "v1.10"), ("tag:v1.9", "v1.9"), ("", "later")):
        repository = following(follow)
        await repository.fetch()
        assert await repository.head() == await repository.resolve("HEAD") == commits[expected]
        assert (await repository.commits(after="", limit=1))[0].id == commits[expected]
    with pytest.raises(UnknownRevisionError, match="has no tag w"):
        await following("tag:w*").head()
