"""Agents in other languages, generated from the protos, against a real control plane: all print the same lines.

Each is built with the toolchain that is here and fetches what it needs by the language's own client. A toolchain that
is missing, or a registry that cannot be reached, is a skip that says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from aisecops.v1 import approval_pb2
from aisecops_client import AsyncClient
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.callers.identity import Role

from tests.integration.api.real import AGENT, settings_in

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "clients/examples"
EXPECTED = (EXAMPLES / "expected.txt").read_text()
PERSON = "gita.rao@corp.example"
BASE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
BIN = Path(sys.executable).parent
# What a build says when the registry is not there, and nothing is wrong with the program.
OFFLINE = (
    "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "dial tcp", "failed to download", "Could not resolve host",
    "Could not transfer artifact", "Network is unreachable", "Temporary failure in name resolution",
)  # fmt: skip


@dataclass(frozen=True)
class Language:
    """How an example is built and run, in its folder; the first word of each command must be there."""

    name: str
    build: tuple[tuple[str, ...], ...]
    run: tuple[str, ...]
    slow: bool = False


LANGUAGES = [
    Language("python", (), (sys.executable, "copilot.py")),
    Language(
        "go",
        (("buf", "generate", "../../../proto"), ("go", "build", "-o", "gen/agent", ".")),
        ("gen/agent",),
    ),
    Language(
        "typescript",
        (("npm", "ci", "--no-audit", "--no-fund"), ("npm", "run", "generate"), ("npm", "run", "build")),
        ("node", "dist/agent.js"),
    ),
    Language(
        "java",
        (("mvn", "--quiet", "--batch-mode", "package"),),
        ("java", "-cp", "target/classes:target/libraries/*", "example.Agent"),
    ),
    Language("rust", (("cargo", "build", "--locked"),), ("target/debug/aisecops-example",), slow=True),
]


def built(language: Language) -> Path:
    """Build an example where it is, and return its folder; skip with the reason why it cannot be."""
    folder = EXAMPLES / language.name
    if language.slow and not os.environ.get("AISECOPS_POLYGLOT"):
        pytest.skip(f"{language.name} takes minutes to build: make test-polyglot")
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "GOFLAGS": "-mod=mod",
        "GOTOOLCHAIN": "local",
    }
    for command in language.build:
        if shutil.which(command[0], path=environment["PATH"]) is None:
            pytest.skip(f"{language.name}: there is no {command[0]} on this machine")
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if done.returncode and any(word in said for word in OFFLINE):
            pytest.skip(f"{language.name}: what it needs cannot be fetched here")
        assert done.returncode == 0, f"{' '.join(command)}\n{said[-4000:]}"
    return folder


async def answers(person: AsyncClient, finished: asyncio.Event) -> None:
    """Approve the smaller refund, refuse the larger one, until the agent is finished."""
    seen: set[str] = set()
    while not finished.is_set():
        listed = await person.approvals.page(states=[approval_pb2.APPROVAL_STATE_REQUESTED])
        for approval in listed.approvals:
            if approval.approval_id in seen:
                continue
            seen.add(approval.approval_id)
            shown = await person.approvals.show(approval.approval_id)
            choice = (
                approval_pb2.CHOICE_DENY if b'"amount":700' in shown.statement_json else approval_pb2.CHOICE_APPROVE
            )
            await person.approvals.vote(shown, choice)
        await asyncio.sleep(0.05)


async def printed(command: Sequence[object], folder: Path, root: Path, environment: Mapping[str, str]) -> str:
    """Return what a program prints that is told of a control plane, while a person votes there."""
    settings = settings_in(root).model_copy(update={"listen_address": "127.0.0.1:0"})
    async with serving(settings) as (_, server):
        signs = issuer(settings)
        (root / "token").write_text(signs.mint(AGENT, (Role.AGENT,)) + "\n")
        given = (f"127.0.0.1:{server.ports[0]}", root / "token", EXAMPLES / "scenarios.json")
        async with AsyncClient.connect(f"unix:{server.socket}", signs.mint(PERSON, (Role.SECOPS,))) as person:
            person.timeout_seconds = 60.0
            finished = asyncio.Event()
            voting = asyncio.create_task(answers(person, finished))
            process = await asyncio.create_subprocess_exec(
                *map(str, (*command, *given)),
                cwd=folder,
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            async with asyncio.timeout(120):
                out, said = await process.communicate()
            finished.set()
            await voting
    assert process.returncode == 0, said.decode()
    return out.decode()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.asyncio
@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
async def test_an_agent_of_another_language_does_what_every_agent_does(language: Language, tmp_path: Path) -> None:
    folder = await asyncio.to_thread(built, language)
    assert await printed(language.run, folder, tmp_path, {}) == EXPECTED


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.asyncio
@pytest.mark.parametrize("protobuf", ["5.29", "6.33", "7"])
async def test_stubs_and_client_work_on_old_and_new_protobuf_runtimes(protobuf: str, tmp_path: Path) -> None:
    home, python = tmp_path / "venv", tmp_path / "venv/bin/python"
    for command in (
        ("uv", "venv", "--quiet", "--python", sys.executable, home),
        ("uv", "pip", "install", "--quiet", "--python", python, f"protobuf=={protobuf}.*", *BASE),
    ):
        done = await asyncio.to_thread(
            subprocess.run, [BIN / command[0], *command[1:]], capture_output=True, text=True, check=False
        )
        if done.returncode and any(word in done.stderr for word in OFFLINE):
            pytest.skip(f"protobuf {protobuf} cannot be fetched here")
        assert done.returncode == 0, done.stderr
    environment = {"PYTHONPATH": f"{ROOT / 'proto/gen'}{os.pathsep}{ROOT / 'clients'}"}
    everything = (
        "import importlib, pkgutil, aisecops_client, google.protobuf;from aisecops import v1;"
        "[importlib.import_module(f'aisecops.v1.{found.name}') for found in pkgutil.iter_modules(v1.__path__)];"
        "print(google.protobuf.__version__)"
    )
    imported = await asyncio.to_thread(
        subprocess.run,
        [python, "-W", "error", "-c", everything],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.startswith(f"{protobuf}.")
    assert await printed([python, "copilot.py"], EXAMPLES / "python", tmp_path, environment) == EXPECTED


def test_the_page_tells_how_each_is_built_and_run() -> None:
    page = (ROOT / "docs/how-to/call-it-from-another-language.md").read_text()
    for language in LANGUAGES:
        commands = [*language.build, tuple(word.replace(sys.executable, "python") for word in language.run)]
        assert [" ".join(command) for command in commands if f"`{' '.join(command)}`" not in page] == []


def test_a_plain_copilot_is_short() -> None:
    written = [line for line in (EXAMPLES / "python/copilot.py").read_text().splitlines() if line]
    assert len(written) < 60


def test_no_lock_file_names_where_something_was_fetched() -> None:
    lock = json.loads((EXAMPLES / "typescript/package-lock.json").read_text())
    assert [name for name, entry in lock["packages"].items() if "resolved" in entry] == []
    cargo = (EXAMPLES / "rust/Cargo.lock").read_text()
    sources = {line for line in cargo.splitlines() if line.startswith("source = ")}
    assert len(sources) == 1
    # The well-known name of the index, not where it was read.
    assert sources.pop().startswith('source = "registry+https://github.com/rust-lang/')
