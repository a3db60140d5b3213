"""A small policy that can be made to do anything, real signed bundles of it, and a server that only pretends.

The policy decides by ``input.case``, so that one bundle serves every test of how the engine is run and asked.
"""

from __future__ import annotations

import asyncio
import functools
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.opa.binary import EngineBinary, examine
from aisecops_server.adapters.opa.client import Client
from aisecops_server.adapters.opa.engine import OpaEngine
from aisecops_server.adapters.opa.process import OpaProcess, State
from aisecops_server.adapters.opa.profile import EngineLimits, Trust
from aisecops_server.domain.bundles.bundle import Bundle, BundleDigest, CommitId
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support import opa_binary

REVISION = CommitId("0123456789abcdef0123456789abcdef01234567")

DECISION = """package aisecops.decision

decision := answer if input.case == "plain"

decision := {"outcome": outcome} if {
	input.case == "conflict"
	some outcome in {"ALLOW", "DENY"}
}

decision := {"outcome": "ALLOW", "number": to_number(input.text)} if input.case == "builtin"

decision := "ALLOW" if input.case == "text"

decision := {"outcome": "ALLOW", "environment": opa.runtime().env} if input.case == "environment"

decision := {"outcome": "ALLOW", "body": http.send({"method": "get", "url": input.url, "raise_error": false})} if {
	input.case == "network"
}

decision := {"outcome": "ALLOW", "all": numbers.range(0, input.size)} if input.case == "huge"

decision := {"outcome": "ALLOW", "count": count(pairs)} if {
	input.case == "slow"
	pairs := [1 | some a in numbers.range(0, 20000); some b in numbers.range(0, 20000); a == b + 20001]
}

decision := {"outcome": "ALLOW", "size": count(everything)} if {
	input.case == "memory"
	everything := [text |
		some i in numbers.range(0, 5000)
		some j in numbers.range(0, 5000)
		text := sprintf("%d %d", [i, j])
	]
}

answer := {"outcome": "ALLOW", "echo": input.value, "limit": data.tables.limits.maximum}
"""
BATCH = """package aisecops.batch

decisions := [decision |
	some document in input.items
	decision := data.aisecops.decision.decision with input as document
]
"""
AUTHORIZATION = """package system.authz

default allow := false

allow if {
	input.method == "POST"
	input.path in {["v1", "data", "aisecops", "decision", "decision"], ["v1", "data", "aisecops", "batch", "decisions"]}
}

allow if {
	input.method == "GET"
	input.path == ["health"]
}
"""


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing key, as the files that OPA wants."""

    private: Path
    public: str


def signer(directory: Path) -> Signer:
    key = Ed25519PrivateKey.generate()
    private = directory / "signing.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Signer(private=private, public=public.decode("ascii"))


def sources(*, decision: str = DECISION, authorization: str = AUTHORIZATION) -> dict[str, str]:
    return {
        "aisecops/decision/decision.rego": decision,
        "aisecops/batch/batch.rego": BATCH,
        "system/authz.rego": authorization,
        "tables/limits/data.json": json.dumps({"maximum": 3}),
        ".manifest": json.dumps({"roots": ["aisecops", "tables", "system"]}),
    }


def build(
    directory: Path, key: Signer | None, *, files: dict[str, str] | None = None, revision: str = REVISION
) -> Bundle:
    """Build a bundle with OPA, signed when there is a key."""
    tree = directory / f"tree-{revision[:8]}"
    for name, text in (files or sources()).items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    archive = directory / f"{revision[:8]}.tar.gz"
    signing = ["--signing-alg", "EdDSA", "--signing-key", str(key.private)] if key else []
    command = [str(opa_binary()), "build", "--bundle", ".", "--revision", revision, "--output", str(archive), *signing]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    return Bundle(revision=CommitId(revision), digest=BundleDigest(f"digest-{revision[:8]}"), archive=archive, rules=())


@functools.cache
def engine_binary() -> EngineBinary:
    return examine(opa_binary(), source="tests")


def process(bundle: Bundle, key: Signer, directory: Path, *, limits: EngineLimits | None = None) -> OpaProcess:
    return OpaProcess(
        bundle,
        engine=engine_binary(),
        trust=Trust(public_key=key.public),
        limits=limits or EngineLimits(),
        parent=directory / "run",
    )


@asynccontextmanager
async def running(
    bundle: Bundle, key: Signer, directory: Path, *, limits: EngineLimits | None = None
) -> AsyncIterator[tuple[OpaEngine, OpaProcess]]:
    """Run an engine for the length of a test."""
    supervised = process(bundle, key, directory, limits=limits)
    await supervised.start()
    try:
        yield OpaEngine(supervised), supervised
    finally:
        await supervised.stop()


async def until(happened: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait for something that another process does; fail when it does not happen."""
    async with asyncio.timeout(seconds):
        while not happened():  # noqa: ASYNC110 -- another process does it and sends no event
            await asyncio.sleep(0.005)


def document(case: str, **fields: object) -> bytes:
    return json.dumps({"case": case, **fields}, separators=(",", ":")).encode()


def serving(supervised: OpaProcess) -> Callable[[], bool]:
    return lambda: supervised.state is State.SERVING


def replaced(supervised: OpaProcess, pid: int) -> Callable[[], bool]:
    """Return whether another process than ``pid`` serves by now."""
    return lambda: supervised.state is State.SERVING and supervised.pid not in (0, pid)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class PretendedProcess:
    """What an engine needs of its process, in front of a server of the test's own."""

    def __init__(self, socket: Path, *, limits: EngineLimits | None = None, revision: str = REVISION) -> None:
        self.limits = limits or EngineLimits()
        self.client = Client(socket, connections=self.limits.connections)
        self.bundle = Bundle(revision=CommitId(revision), digest=BundleDigest("d"), archive=socket, rules=())
        self.suspected = 0

    def require_serving(self) -> None:
        """Serve always."""

    def suspect(self) -> None:
        self.suspected += 1


@asynccontextmanager
async def pretending(directory: Path, handler: Handler) -> AsyncIterator[Path]:
    """Serve ``handler`` on a Unix socket."""
    socket = directory / "p"
    server = await asyncio.start_unix_server(handler, str(socket))
    try:
        yield socket
    finally:
        server.close()


def answering(raw: bytes, *, then_close: bool = False) -> Handler:
    """Answer every request with these bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await read_request(reader):
                writer.write(raw)
                await writer.drain()
                if then_close:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return handle


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


def reply(body: bytes, *, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def decided(result: object = None, *, revision: str = REVISION, without: str = "") -> bytes:
    """Return the body of a well-formed answer, less one of its parts."""
    answer: dict[str, object] = {
        "result": {"outcome": "ALLOW"} if result is None else result,
        "provenance": {"version": "1.22.2", "bundles": {"aisecops": {"revision": revision}}},
        "metrics": {"timer_rego_query_eval_ns": 1200},
    }
    answer.pop(without, None)
    return json.dumps(answer).encode()
