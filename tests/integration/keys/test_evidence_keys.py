"""Packages of several evidence keys, verified offline by who knows one of them, and forged by who stole one."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aisecops.v1.key_service_pb2 import KEY_USE_EVIDENCE, GetKeysRequest, RotateKeyRequest
from aisecops.v1.key_service_pb2_grpc import KeyServiceStub
from aisecops_client import AsyncClient
from aisecops_server.adapters.evidence.archive import pack
from aisecops_server.adapters.evidence.package_log import open_package
from aisecops_server.adapters.signing.keys import SigningKey, open_key
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.evidence.evidence import MANIFEST, STATEMENT, envelope_of, signed_bytes
from aisecops_server.domain.formats.canonical import canonical_bytes, digest
from aisecops_server.domain.log.key_rotation import KeyUse, Rotation, SignedRotation
from aisecops_server.usecases.evidence.export_evidence import EvidenceRequest
from aisecops_verify import EvidenceError, Report, Trust, main, read_package, verify

from tests.integration.api.real import running, settings_in
from tests.integration.test_evidence import AUDITOR, decide
from tests.scenes.planes.engines import until

pytestmark = pytest.mark.timeout(240)
Files = dict[str, bytes]


@dataclass(frozen=True)
class Shelf:
    """Packages by the number of the key that signed them, those keys, and what readers may know."""

    packages: Sequence[bytes]
    keys: Sequence[str]
    private: Sequence[SigningKey]
    log_key: str
    histories: Sequence[str]

    def check(self, number: int, known: int | str = "", *, log: bool = True, history: int | None = None) -> Report:
        """Verify a package as who knows the ``known``-th key, the log's key or not, and keys as of a rotation."""
        key = self.keys[known] if isinstance(known, int) else known
        told = self.histories[history] if history is not None else None
        trust = Trust(self.log_key if log else "", key, evidence_keys=told)
        return verify(self.packages[number], trust)


async def history(plane: ControlPlane) -> str:
    """Return what 'aisecops evidence keys' prints."""
    told = await plane.log.key_rotations(KeyUse.EVIDENCE)
    rotations = [{**one.event.details(), "log_index": one.index} for one in told]
    return json.dumps({"key": plane.signing_keys[KeyUse.EVIDENCE].keys.ring.public.hex(), "rotations": rotations})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """Keys 0 to 3; 1 was stolen, so that it was revoked for 2."""
    settings = settings_in(tmp_path_factory.mktemp("evidence"))
    async with running(settings) as (plane, client):
        trace = await decide(client)
        packages, keys, private, histories = [], [], [], []
        for number, revoke in enumerate((False, True, False, None)):
            name = f"evidence.{number}" if number else "evidence"
            private.append(open_key(settings.state_dir / "keys", name))
            package = await plane.export(EvidenceRequest([trace]), principal=AUDITOR)
            packages.append(package.content)
            keys.append(package.key.hex())
            histories.append(await history(plane))
            if revoke is not None:
                await plane.signing_keys[KeyUse.EVIDENCE](principal="dana@corp.example", reason="drill", revoke=revoke)
        assert sorted(file.name for file in (settings.state_dir / "keys").glob("evidence*")) == ["evidence.3.pem"]
        return Shelf(packages, keys, private, plane.publish.keys.public.text(), histories)


def test_a_package_verifies_for_ever_with_its_own_key(shelf: Shelf) -> None:
    assert len(set(shelf.keys)) == 4
    for number in range(4):
        assert shelf.check(number, number).checks


def test_who_knows_the_first_key_follows_it_to_the_third(shelf: Shelf) -> None:
    report = shelf.check(3, 0)
    followed = [check for check in report.checks if check.startswith("the evidence key")]
    assert [check.split(" in event")[0] for check in followed] == [
        f"the evidence key {shelf.keys[0][:16]} was followed by {shelf.keys[1][:16]}",
        f"the evidence key {shelf.keys[1][:16]} was revoked, and replaced by {shelf.keys[2][:16]}",
        f"the evidence key {shelf.keys[2][:16]} was followed by {shelf.keys[3][:16]}",
    ]
    # Where nobody took anything back, the keys alone are enough.
    assert shelf.check(1, 0, log=False).checks
    assert shelf.check(3, 2, log=False).checks


def test_what_a_revoked_key_says_of_its_follower_needs_the_log(shelf: Shelf) -> None:
    for known in (0, 1):
        with pytest.raises(EvidenceError, match=r"revoked in event .* give --log-key"):
            shelf.check(3, known, log=False)


def test_a_package_of_a_revoked_key_is_told_as_such(shelf: Shelf) -> None:
    for number in (0, 1):
        assert shelf.check(number, history=1).checks
        for told in (2, 3):
            with pytest.raises(EvidenceError, match="signed with an evidence key that was revoked in event"):
                shelf.check(number, history=told)
    for number in (2, 3):
        assert shelf.check(number, history=3).checks
    with pytest.raises(IntegrityError, match="revoked in event"):
        open_package(shelf.packages[1], log_key=shelf.log_key, evidence_keys=shelf.histories[3])


def test_who_knows_an_older_history_goes_on_from_it(shelf: Shelf) -> None:
    assert shelf.check(3, history=2).checks
    assert shelf.check(3, history=1).checks
    assert shelf.check(3, history=0).checks
    with pytest.raises(EvidenceError, match="does not have the key that you gave"):
        shelf.check(3, "ab" * 32, history=3)


@pytest.mark.parametrize("known", ["ab" * 32, 3])
def test_a_key_that_does_not_lead_to_the_package_s_is_told(shelf: Shelf, known: int | str) -> None:
    with pytest.raises(EvidenceError, match="another evidence key than the one you gave"):
        shelf.check(1, known)


def resigned(files: Mapping[str, bytes], key: SigningKey) -> bytes:
    """Return the package of other files, honestly listed and signed by ``key``."""
    rest = {name: data for name, data in files.items() if name not in {MANIFEST, STATEMENT}}
    manifest = json.loads(files[MANIFEST])
    manifest["files"] = {name: digest(data) for name, data in rest.items()}
    manifest["keys"]["evidence"] = key.public_raw.hex()
    listed = canonical_bytes(manifest)
    statement = json.loads(base64.b64decode(json.loads(files[STATEMENT])["payload"]))
    statement["subject"][0]["digest"]["sha256"] = digest(listed)
    told = canonical_bytes(statement)
    return pack(
        {
            **rest,
            MANIFEST: listed,
            STATEMENT: envelope_of(told, signature=key.sign(signed_bytes(told)), key_id="k"),
        }
    )


def without_rotations(files: Files, drop: Callable[[int], bool] = lambda _number: True) -> Files:
    """Leave rotations out of a package, with their proofs."""
    lines, proofs = files["events.ndjson"].split(b"\n")[:-1], json.loads(files["proofs.json"])
    bodies = [json.loads(line) for line in lines]
    kept = [
        at
        for at, body in enumerate(bodies)
        if body["type"] != KeyUse.EVIDENCE.rotated or not drop(body["details"]["number"])
    ]
    return {
        **files,
        "events.ndjson": b"".join(lines[at] + b"\n" for at in kept),
        "proofs.json": canonical_bytes([proofs[at] for at in kept]),
    }


def test_who_stole_an_earlier_key_makes_no_package_of_events_behind_its_end(shelf: Shelf, tmp_path: Path) -> None:
    files = read_package(shelf.packages[3])
    for number, told in ((0, "revoked"), (1, "revoked"), (2, "followed by another in event")):
        forged = resigned(files, shelf.private[number])
        with pytest.raises(EvidenceError, match=told):
            verify(forged, Trust(shelf.log_key, shelf.keys[number]))
        # Left out of the package, the rotations are still known to who keeps the history.
        hidden = resigned(without_rotations(files), shelf.private[number])
        with pytest.raises(EvidenceError, match=told):
            verify(hidden, Trust(shelf.log_key, evidence_keys=shelf.histories[3]))
        # To who does not, nothing shows what is not there, and the verifier says that.
        report = verify(hidden, Trust(shelf.log_key, shelf.keys[number]))
        assert any("can leave that out" in remark for remark in report.remarks)
    # And a key that was never one for packages is none by its own word.
    with pytest.raises(EvidenceError, match="its log does not know"):
        verify(resigned(files, open_key(tmp_path, "stranger")), Trust(shelf.log_key))


def test_a_key_or_a_history_that_is_given_and_empty_is_not_one_that_is_not_given(shelf: Shelf) -> None:
    told = json.loads(shelf.histories[3])
    endless = [{**told["rotations"][0], "log_index": float("inf")}, *told["rotations"][1:]]
    for history in ("", " ", "{}", json.dumps({**told, "rotations": endless})):
        with pytest.raises(EvidenceError, match="history of evidence keys is not"):
            verify(shelf.packages[3], Trust(shelf.log_key, evidence_keys=history))
    for key in (" ", "\n", "no key", "ab", shelf.keys[3] + "00", "g" * 64):
        with pytest.raises(EvidenceError, match="64 hexadecimal digits"):
            verify(shelf.packages[3], Trust(shelf.log_key, key))
    assert verify(shelf.packages[3], Trust(shelf.log_key, shelf.keys[3].upper() + "\n")).checks


NO_KEYS = ("", " ", "no key", "log.key", "a+b+c")


@pytest.mark.parametrize("option", ["--log-key", "--evidence-key", "--witness-key"])
@pytest.mark.parametrize("text", NO_KEYS)
def test_what_is_given_as_a_key_and_is_none_says_nothing_of_the_package(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, text: str
) -> None:
    package = tmp_path / "case.zip"
    package.write_bytes(shelf.packages[3])
    assert main([str(package), option, text]) == 2
    said = capsys.readouterr()
    assert (said.out, option in said.err) == ("", True)
    for command in ("verify", "open"):
        assert run(["evidence", command, str(package), option, text]) == ExitCode.USAGE
        assert option in capsys.readouterr().err


def test_a_key_that_is_one_and_another_is_a_package_that_does_not_verify(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "case.zip"
    package.write_bytes(shelf.packages[3])
    assert main([str(package), "--log-key", shelf.log_key, "--evidence-key", "00" * 32]) == 9
    assert "does not verify" in capsys.readouterr().out
    assert main([str(package), "--log-key", shelf.log_key]) == 0
    assert main([str(tmp_path / "nothing.zip")]) == 2


def test_a_chain_with_a_broken_link_is_refused(shelf: Shelf) -> None:
    files = read_package(shelf.packages[3])
    for gone in (1, 2):
        broken = resigned(without_rotations(files, lambda number, gone=gone: number == gone), shelf.private[3])
        with pytest.raises(EvidenceError, match="does not go on from the key before it"):
            verify(broken, Trust(shelf.log_key, shelf.keys[0]))
    last = resigned(without_rotations(files, lambda number: number == 3), shelf.private[3])
    with pytest.raises(EvidenceError, match="its log does not know"):
        verify(last, Trust(shelf.log_key, shelf.keys[0]))


def forged_history(shelf: Shelf, *, old: SigningKey, new: SigningKey, number: int, use: KeyUse) -> dict[str, Any]:
    rotation = Rotation(number, old.public_raw, new.public_raw, 1, grace=True, use=use)
    return {**SignedRotation(rotation, old.sign(rotation.text()), new.sign(rotation.text())).details(), "log_index": 3}


def test_a_forged_rotation_leads_nowhere(shelf: Shelf, tmp_path: Path) -> None:
    mine = open_key(tmp_path, "mine")
    told = json.loads(shelf.histories[3])
    forged = forged_history(shelf, old=mine, new=mine, number=4, use=KeyUse.EVIDENCE)
    for rotations, why in (
        ([*told["rotations"], {**forged, "old": told["key"]}], "signature"),
        ([*told["rotations"], {**told["rotations"][-1], "grace": False}], "signature"),
        ([told["rotations"][0], told["rotations"][2]], "does not go on"),
        ([None], "is not what"),
        ([forged_history(shelf, old=shelf.private[0], new=mine, number=1, use=KeyUse.BUNDLE)], "signature"),
    ):
        document = json.dumps({"key": told["key"], "rotations": rotations})
        with pytest.raises(EvidenceError, match=why):
            verify(shelf.packages[3], Trust(shelf.log_key, evidence_keys=document))
    # The thief of the first key hands it over to a key of theirs; the log knows better.
    stolen = forged_history(shelf, old=shelf.private[0], new=mine, number=1, use=KeyUse.EVIDENCE)
    document = json.dumps({"key": mine.public_raw.hex(), "rotations": [stolen]})
    with pytest.raises(EvidenceError, match="over to another one than you know"):
        verify(shelf.packages[3], Trust(shelf.log_key, evidence_keys=document))


def _made(packages: Sequence[object], least: int) -> bool:
    return len(packages) >= least


@pytest.mark.asyncio
async def test_packages_that_are_exported_while_the_key_is_rotated_all_verify(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as (plane, client):
        trace = await decide(client)
        first = plane.signing_keys[KeyUse.EVIDENCE].keys.ring.public.hex()
        made: list[tuple[bytes, str]] = []
        ended = asyncio.Event()

        async def exporting() -> None:
            while not ended.is_set():
                package = await plane.export(EvidenceRequest([trace]), principal=AUDITOR)
                made.append((package.content, package.key.hex()))

        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(exporting())
            for _ in range(3):
                await plane.signing_keys[KeyUse.EVIDENCE](principal="dana@corp.example", reason="drill")
                least = len(made) + 2
                await until(partial(_made, made, least))
            ended.set()
        assert len({key for _, key in made}) > 1
        for content, key in made:
            for known in (first, key):
                assert verify(content, Trust(plane.publish.keys.public.text(), known)).checks


@pytest.mark.asyncio
async def test_it_is_told_to_everybody_and_rotated_by_who_runs_the_control_plane(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as (plane, client):
        async with AsyncClient.connect(
            f"unix:{settings.state_dir}/run/aisecops.sock", issuer(settings).mint("dana@corp.example", (Role.PLATFORM,))
        ) as operator:
            stub = KeyServiceStub(operator.channel)
            before = await stub.GetKeys(GetKeysRequest(use=KEY_USE_EVIDENCE), metadata=client.metadata)
            assert list(before.rotations) == []
            ask = RotateKeyRequest(use=KEY_USE_EVIDENCE, reason="yearly")
            rotated = await stub.RotateKey(ask, metadata=operator.metadata)
            told = await stub.GetKeys(GetKeysRequest(use=KEY_USE_EVIDENCE), metadata=client.metadata)
            assert (told.key, told.problem) == (rotated.key, "")
            assert [(one.old, one.new, one.log_index) for one in told.rotations] == [
                (before.key, rotated.key, rotated.log_index)
            ]
            for request in (GetKeysRequest(), GetKeysRequest(use=77)):
                with pytest.raises(Exception, match="no such key"):
                    await stub.GetKeys(request, metadata=client.metadata)
            with pytest.raises(Exception, match="needs the role platform, security"):
                await stub.RotateKey(ask, metadata=client.metadata)
            for reason in ("", "x" * 1001):
                with pytest.raises(Exception, match="reason"):
                    await stub.RotateKey(
                        RotateKeyRequest(use=KEY_USE_EVIDENCE, reason=reason), metadata=operator.metadata
                    )
        assert plane.signing_keys[KeyUse.EVIDENCE].keys.chain.number == 1
        assert (await plane.log.verify()).problem == ""
