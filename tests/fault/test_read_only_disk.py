"""The log's file system can only be read any more, while a control plane that serves has the log open.

The kernel makes it so itself, as it does when a file system is found to be damaged (``errors=remount-ro``): a remount
by hand is refused for as long as a file is open for writing. The file system is an image of its own, mounted in a
mount namespace that only the process has, and goes away with it.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import grpc
import pytest
from aisecops_client import AsyncClient
from aisecops_client.errors import AisecopsClientError
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.api.real import AGENT, settings_in
from tests.scenes.planes.serving_process import (
    SECONDS,
    decided,
    environment_of,
    plan,
    refused,
    serving,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

MEGABYTES = 160
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
MOUNTED = 'mount -o "loop,errors=remount-ro,$1" "$2" "$3" && shift 3 && exec "$@"'


class Disk:
    """An image with a file system, and the folder where a process mounts it for itself alone."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.image, self.folder = image, folder

    def within(self, *, mode: str = "rw") -> Sequence[str]:
        """Return the command that mounts it for whatever is executed next."""
        return ["unshare", "--mount", "sh", "-c", MOUNTED, "sh", mode, str(self.image), str(self.folder)]

    def fail(self, process: subprocess.Popen[str]) -> None:
        """Have the kernel find it damaged, as it is mounted by ``process``."""
        mounts = [line.split() for line in Path(f"/proc/{process.pid}/mounts").read_text().splitlines()]
        [device] = [fields[0] for fields in mounts if fields[1] == str(self.folder)]
        Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("a fault that a test injects")

    def mend(self) -> None:
        """Check and repair it, as an operator does before it is mounted again."""
        checked = subprocess.run(["e2fsck", "-p", str(self.image)], check=False, capture_output=True)
        assert checked.returncode in (0, 1), checked.stdout


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose state directory is on the disk, and whose socket can be reached from everywhere."""
    made = settings_in(tmp_path)
    made.state_dir.mkdir(mode=0o700)
    return made.model_copy(update={"listen_socket": tmp_path / "run" / "api.sock"})


@pytest.fixture
def disk(settings: Settings, tmp_path: Path) -> Disk:
    """A disk of its own that can fail."""
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(MEGABYTES << 20)
    made = Disk(image, settings.state_dir)
    missing = [tool for tool in ("mkfs.ext4", "e2fsck", "unshare", "nsenter") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"no file system can be made here without {', '.join(missing)}")
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    tried = subprocess.run([*made.within(), "ls", "/sys/fs/ext4"], check=False, capture_output=True, text=True)
    if tried.returncode or "loop" not in tried.stdout:
        pytest.skip(f"no image can be mounted in a namespace of its own here: {tried.stderr.strip()}")
    return made


def said_beside(process: subprocess.Popen[str], command: str, settings: Settings) -> subprocess.CompletedProcess[str]:
    """Run a command of the program as an operator does, in the mount namespace of the process."""
    return said_by(command, settings, within=["nsenter", "--mount", "--target", str(process.pid)])


def said_by(command: str, settings: Settings, *, within: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the program to its end."""
    return subprocess.run(
        [*within, sys.executable, "-m", "aisecops_server", *command.split()],
        env=environment_of(settings),
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


async def health(settings: Settings) -> int:
    async with grpc.aio.insecure_channel(f"unix:{settings.socket}") as channel:
        request = health_pb2.HealthCheckRequest(service="aisecops.v1.DecisionService")
        return int((await health_pb2_grpc.HealthStub(channel).Check(request, timeout=SECONDS)).status)


async def reached(process: subprocess.Popen[str], settings: Settings) -> Settings:
    """Return the settings as the process sees them, once it answers."""
    async with grpc.aio.insecure_channel(f"unix:{settings.socket}") as channel, asyncio.timeout(SECONDS):
        await channel.channel_ready()
    return settings.model_copy(update={"state_dir": Path(f"/proc/{process.pid}/root{settings.state_dir}")})


async def require_on_record(process: subprocess.Popen[str], seen: Settings, acknowledged: Collection[str]) -> None:
    """Require that the log verifies and holds every decision that was acknowledged."""
    async with AsyncClient.connect(f"unix:{seen.socket}", issuer(seen).mint(AGENT, (Role.AUDITOR,))) as client:
        concluded = {event.decision_id async for event in client.events() if event.type == "decision.concluded"}
    assert set(acknowledged) <= concluded
    folder = Path("/", seen.state_dir.relative_to(f"/proc/{process.pid}/root"))
    verified = said_beside(process, "log verify", seen.model_copy(update={"state_dir": folder}))
    assert verified.returncode == 0, verified.stderr


async def test_the_file_system_of_an_open_log_can_only_be_read(disk: Disk, settings: Settings) -> None:
    with serving(settings, within=disk.within()) as process:
        seen = await reached(process, settings)
        acknowledged = [await decided(seen)]
        agent = issuer(seen).mint(AGENT, (Role.AGENT, Role.AUDITOR))
        async with AsyncClient.connect(f"unix:{settings.socket}", agent) as client:
            client.timeout_seconds = SECONDS
            assert await health(settings) == SERVING
            disk.fail(process)
            error = await refused(client, acknowledged)
            assert error.reason == "SEALED"
            assert "Read-only file system" in error.message
            assert "then restart" in error.message
            assert await health(settings) == NOT_SERVING
            # Sealed for good: whoever asks next is refused as well, and what is on record can still be read.
            with pytest.raises(AisecopsClientError) as again:
                await client.decide(plan())
            assert again.value.reason == "SEALED"
            assert (await client.explain(acknowledged[-1])).decision.decision_id == acknowledged[-1]
        doctor = said_beside(process, "doctor", settings)
        # Its table breaks lines where a path is long.
        said = " ".join(doctor.stdout.split())
        assert (doctor.returncode, "Read-only file system" in said) == (1, True), doctor.stdout
        assert process.poll() is None
    disk.mend()
    # As it is found after a restart of the machine: still mounted for reading only.
    started = said_by("serve", settings, within=disk.within(mode="ro"))
    assert started.returncode != 0
    assert "Check the disk that holds the state directory" in started.stderr
    with serving(settings, within=disk.within()) as process:
        seen = await reached(process, settings)
        acknowledged.append(await decided(seen))
        assert await health(settings) == SERVING
        await require_on_record(process, seen, acknowledged)


async def test_the_same_steps_on_a_disk_that_does_not_fail_end_in_decisions(disk: Disk, settings: Settings) -> None:
    with serving(settings, within=disk.within()) as process:
        seen = await reached(process, settings)
        acknowledged = [await decided(seen)]
        assert await health(settings) == SERVING
        # What the other disk refused.
        acknowledged.append(await decided(seen))
        doctor = said_beside(process, "doctor", settings)
        assert "Read-only" not in doctor.stdout, doctor.stdout
    with serving(settings, within=disk.within()) as process:
        seen = await reached(process, settings)
        await require_on_record(process, seen, acknowledged)
