"""A container engine that the tests start themselves, and the image that ships, built as it is told to be built.

No registry of images is asked: the base is made of Debian's packages, wheels and the engine are given.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException

from tests.support import opa_binary

ROOT = Path(__file__).parents[2]
BASE, IMAGE = "aisecops-tests/base:12", "aisecops:0.1.0"
_READY_SECONDS = 60
_DAEMON = ("--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=overlay2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what takes minutes unless it is asked for, and say how to ask."""
    if os.environ.get("AISECOPS_CONTAINERS"):
        return
    for item in items:
        if "containers" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason="containers take minutes to build: make test-containers"))


@pytest.fixture(scope="session")
def containers() -> Iterator[docker.DockerClient]:
    """A client of a container engine of its own."""
    daemon = shutil.which("dockerd")
    if daemon is None or os.getuid() != 0:
        pytest.skip("no container engine can be started: dockerd is not installed, or this is not root")
    with tempfile.TemporaryDirectory(prefix="aisecops-c-") as directory:
        socket = f"unix://{directory}/docker.sock"
        places = [f"--{name}={directory}/{place}" for name, place in (("data-root", "r"), ("exec-root", "e"))]
        with (Path(directory) / "log").open("wb") as log:
            process = subprocess.Popen(
                [daemon, f"--host={socket}", f"--pidfile={directory}/pid", *places, *_DAEMON], stdout=log, stderr=log
            )
        try:
            yield _connected(socket, process, Path(directory) / "log")
        finally:
            process.terminate()
            process.wait(60)
            # What the engine mounted goes with it; what is left is only files.
            with contextlib.suppress(subprocess.CalledProcessError):
                subprocess.run(["umount", "-R", f"{directory}/r/overlay2"], check=True, capture_output=True)


def _connected(socket: str, process: subprocess.Popen[bytes], log: Path) -> docker.DockerClient:
    for _ in range(_READY_SECONDS * 10):
        with contextlib.suppress(DockerException, OSError):
            return docker.DockerClient(base_url=socket, timeout=300)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            break
    pytest.skip(f"the container engine does not start here: {log.read_text('utf-8')[-300:]}")


@pytest.fixture(scope="session")
def image(containers: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of ``deploy/Containerfile``, built without a network."""
    root = tmp_path_factory.mktemp("image")
    _import_base(containers, root)
    context = _context(root / "context")
    containers.images.build(
        path=str(context),
        dockerfile="deploy/Containerfile",
        tag=IMAGE,
        buildargs={"BASE": BASE},
        network_mode="none",
        rm=True,
    )
    return IMAGE


def _import_base(containers: docker.DockerClient, root: Path) -> None:
    maker = shutil.which("debootstrap")
    if maker is None:
        pytest.skip("no base image can be made: debootstrap is not installed")
    arguments = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Codename: bookworm"]
    mirrors = subprocess.run(arguments, capture_output=True, check=True, text=True).stdout.split()
    if not mirrors:
        pytest.skip("no base image can be made: this machine knows no packages of Debian 12")
    needs = "--include=python3,python3-venv,git,ca-certificates"
    system, archive = root / "system", root / "base.tar"
    subprocess.run(
        [maker, "--variant=minbase", needs, "bookworm", str(system), mirrors[0]], check=True, capture_output=True
    )
    subprocess.run(["tar", "-C", str(system), "-cf", str(archive), "."], check=True)
    name, _, tag = BASE.partition(":")
    containers.api.import_image_from_file(str(archive), repository=name, tag=tag)
    shutil.rmtree(system)
    archive.unlink()


def _context(context: Path) -> Path:
    """Return a folder with what Git knows, wheels and an engine."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in (os.fsdecode(each) for each in files if each):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, context / name)
    lock = ROOT / "requirements" / "server.lock"
    get = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
    ]
    subprocess.run([*get, "--dest", str(context / "deploy/wheels"), "--requirement", str(lock)], check=True)
    shutil.copy(opa_binary(), context / "deploy/engine/opa")
    return context
