"""The engine itself refuses every bundle that is not exactly what was signed by the key that we trust."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from aisecops_server.adapters.opa.profile import EngineLimits, Trust
from aisecops_server.domain.bundles.bundle import Bundle, CommitId
from aisecops_server.domain.errors import BundleRejectedError

from tests.scenes.planes import engines
from tests.scenes.planes.engines import OpaProcess, Signer


def changed(bundle: Bundle, change: Callable[[dict[str, bytes]], Mapping[str, bytes]]) -> Bundle:
    with tarfile.open(bundle.archive) as archive:
        files = {
            member.name: content.read() for member in archive if (content := archive.extractfile(member)) is not None
        }
    target = bundle.archive.with_name("changed.tar.gz")
    with tarfile.open(target, "w:gz") as archive:
        for name, data in change(files).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return replace(bundle, archive=target)


ATTACKS: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "changed rule": lambda files: {
        name: data.replace(b'"ALLOW"', b'"DENY "') if name.endswith("decision.rego") else data
        for name, data in files.items()
    },
    "changed table": lambda files: {
        name: data.replace(b"3", b"4") if name.endswith("data.json") else data for name, data in files.items()
    },
    "changed manifest": lambda files: {
        name: data.replace(engines.REVISION.encode(), b"f" * 40) if name.endswith(".manifest") else data
        for name, data in files.items()
    },
    "stripped signature": lambda files: {
        name: data for name, data in files.items() if not name.endswith(".signatures.json")
    },
    "empty signatures": lambda files: {
        name: b'{"signatures":[]}' if name.endswith(".signatures.json") else data for name, data in files.items()
    },
    "extra rule": lambda files: {**files, "/aisecops/extra.rego": b"package aisecops.extra\n"},
    "extra data": lambda files: {**files, "/tables/extra/data.json": b"{}"},
    "missing file": lambda files: {
        name: data for name, data in files.items() if not name.endswith("system/authz.rego")
    },
}


async def refusal(bundle: Bundle, key: Signer, directory: Path, *, scope: str = "") -> str:
    process = OpaProcess(
        bundle,
        engine=engines.engine_binary(),
        trust=Trust(public_key=key.public, scope=scope),
        limits=EngineLimits(),
        parent=directory / "run",
    )
    with pytest.raises(BundleRejectedError) as raised:
        await process.start()
    assert process.pid == 0
    return raised.value.message


@pytest.mark.asyncio
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_bundle_that_was_touched_after_signing_is_refused(
    attack: Callable[[dict[str, bytes]], dict[str, bytes]], tmp_path: Path
) -> None:
    key = engines.signer(tmp_path)
    message = await refusal(changed(engines.build(tmp_path, key), attack), key, tmp_path)
    assert engines.REVISION in message


@pytest.mark.asyncio
async def test_the_same_bundle_repacked_and_untouched_is_served(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    repacked = changed(engines.build(tmp_path, key), lambda files: files)
    async with engines.running(repacked, key, tmp_path) as (engine, _):
        verdict = await engine.evaluate(engines.document("plain", value=1), deadline_seconds=5)
    assert verdict.revision == engines.REVISION


@pytest.mark.asyncio
async def test_an_unsigned_bundle_is_refused(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    assert "signature" in await refusal(engines.build(tmp_path, None), key, tmp_path)


@pytest.mark.asyncio
async def test_another_key_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    bundle = engines.build(tmp_path, engines.signer(tmp_path))
    assert "signature" in await refusal(bundle, engines.signer(other), tmp_path)


@pytest.mark.asyncio
async def test_another_scope_is_refused(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    assert "scope" in await refusal(engines.build(tmp_path, key), key, tmp_path, scope="production")


@pytest.mark.asyncio
async def test_a_bundle_of_another_revision_than_it_was_called_is_refused(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    bundle = replace(engines.build(tmp_path, key), revision=CommitId("f" * 40))
    assert f"revision {engines.REVISION}" in await refusal(bundle, key, tmp_path)


@pytest.mark.asyncio
async def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    archive = tmp_path / "no.tar.gz"
    archive.write_bytes(b"\x1f\x8b no bundle")
    await refusal(replace(engines.build(tmp_path, key), archive=archive), key, tmp_path)
