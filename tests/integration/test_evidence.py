"""Evidence packages made by a control plane of real parts, verified by the stand-alone verifier, and attacked."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import aisecops_verify
import pytest
import pytest_asyncio
from aisecops_client import AsyncClient, PlanBuilder
from aisecops_server.adapters.evidence.archive import pack
from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.errors import IntegrityError, InvalidRequestError, NotFoundError
from aisecops_server.domain.evidence.evidence import MANIFEST, STATEMENT, envelope_of, signed_bytes
from aisecops_server.domain.formats.canonical import canonical_bytes, digest
from aisecops_server.domain.formats.signed_note import KeyKind, NoteKey
from aisecops_server.domain.log.record import TraceFilter
from aisecops_server.settings import Settings
from aisecops_server.usecases.evidence.export_evidence import EvidencePackage, EvidenceRequest
from aisecops_verify import EvidenceError, Trust, read_package, verify

from tests.bare_environment import bare_environment, installed
from tests.integration.api.real import running, settings_in
from tests.support import opa_binary

AUDITOR = Principal(PrincipalId("auditor@corp.example"), "token", frozenset({Role.AUDITOR}))
HOSTILE = "<script>alert(1)</script> | \u202e[x](javascript:alert(1)) `code`"

Files = dict[str, bytes]


class Case:
    """A package, the keys that it was made with, and how to make it again with other content."""

    def __init__(self, package: EvidencePackage, plane: ControlPlane, settings: Settings) -> None:
        self.content = package.content
        self.sha256 = package.sha256
        self.trust = Trust(plane.publish.keys.public.text(), package.key.hex())
        self.signer = open_key(settings.state_dir / "keys", "evidence")

    def files(self) -> Files:
        return read_package(self.content)

    def signed_again(self, files: Mapping[str, bytes]) -> bytes:
        """Return the package of other files, honestly listed and signed: what somebody with the key could forge."""
        rest = {name: data for name, data in files.items() if name not in {MANIFEST, STATEMENT}}
        manifest = json.loads(files[MANIFEST])
        manifest["files"] = {name: digest(data) for name, data in rest.items()}
        listed = canonical_bytes(manifest)
        statement = json.loads(base64.b64decode(json.loads(files[STATEMENT])["payload"]))
        statement["subject"][0]["digest"]["sha256"] = digest(listed)
        told = canonical_bytes(statement)
        envelope = envelope_of(told, signature=self.signer.sign(signed_bytes(told)), key_id="k")
        return pack({**rest, MANIFEST: listed, STATEMENT: envelope})


async def decide(client: AsyncClient, *, tool: str = "tickets/read", intent: str = "read a ticket") -> str:
    plan = PlanBuilder(intent=intent, environment="production")
    plan.source("user_prompt", "Please read ticket T-1.")
    plan.step(tool, {"ticket_id": "T-1"})
    return (await client.decide(plan)).decision.trace_id


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    settings = settings_in(tmp_path_factory.mktemp("evidence"))
    async with running(settings) as (plane, client):
        traces = [await decide(client), await decide(client, tool="crm/unheard_of", intent=HOSTILE)]
        package = await plane.export(EvidenceRequest(traces), principal=AUDITOR)
        again = await plane.export(EvidenceRequest(traces[::-1]), principal=AUDITOR)
        assert again.sha256 != package.sha256, "the checkpoint of the second one covers the export of the first"
        assert set(read_package(again.content)) == set(read_package(package.content))
        [found] = [
            event async for event in plane.log.events(from_index=package.receipt.log_index, follow=False, trace_id="")
        ][:1]
        assert found.event.type == "evidence.exported"
        assert json.loads(found.event.body)["details"]["package_sha256"] == package.sha256
        return Case(package, plane, settings)


def test_it_verifies_with_the_keys_that_the_reader_knows_and_says_what_was_checked(case: Case) -> None:
    report = verify(case.content, case.trust)
    assert any("2 decisions" in check for check in report.checks)
    assert [remark for remark in report.remarks if "own word" in remark] == []
    assert digest(case.content) == case.sha256


def test_keys_from_the_package_itself_are_said_to_be_its_own_word(case: Case) -> None:
    assert sum("own word" in remark for remark in verify(case.content).remarks) == 2


def test_every_decision_comes_out_the_same_on_a_stock_engine(case: Case) -> None:
    report = verify(case.content, case.trust, opa=str(opa_binary()))
    assert any("come out the same" in check for check in report.checks)


def test_same_content_gives_same_bytes(case: Case) -> None:
    assert case.signed_again(case.files()) == case.signed_again(case.files())
    verify(case.signed_again(case.files()), case.trust)


def test_the_verifier_runs_as_one_copied_file_where_only_cryptography_is_installed(case: Case, tmp_path: Path) -> None:
    python = bare_environment(tmp_path / "bare", "cryptography")
    assert installed(python) <= {"cryptography", "cffi", "pycparser"}
    script = tmp_path / "verify.py"
    script.write_bytes(Path(aisecops_verify.__file__).with_name("one_file.py").read_bytes())
    package = tmp_path / "case.zip"
    package.write_bytes(case.content)
    call = [str(python), "-I", str(script), str(package), "--log-key", case.trust.log_key]
    call += ["--evidence-key", case.trust.evidence_key, "--reproduce", str(opa_binary())]
    done = subprocess.run(call, check=False, cwd=tmp_path, env={}, capture_output=True, text=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert "✓ the statement is signed" in done.stdout
    assert "✓ 2 decisions come out the same" in done.stdout
    package.write_bytes(case.content.replace(b"tickets/read", b"tickets/rEad", 1))
    done = subprocess.run(call, check=False, cwd=tmp_path, env={}, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 9
    assert done.stdout.startswith("✕ does not verify")


def test_the_summary_shows_hostile_text_as_text(case: Case) -> None:
    page, text = case.files()["summary.html"].decode(), case.files()["summary.md"].decode()
    for shown in (page, text):
        assert "<script>alert" not in shown
        assert "\u202e" not in shown
    assert "default-src 'none'" in page


def test_it_tells_each_trace_as_one_story_and_who_agreed(case: Case) -> None:
    files = case.files()
    stories = json.loads(files["traces.json"])
    assert len(stories) == 2
    for story in stories:
        assert {node["kind"] for node in story["graph"]["nodes"]} >= {"identity", "plan", "step", "outcome"}
        assert story["governance"]["violations"] == []
    assert json.loads(files["approvals.json"]) == []
    assert "Approvals" in files["summary.md"].decode()
    assert "Where records disagree" in files["summary.html"].decode()


def test_any_byte_that_is_changed_is_found_out(case: Case) -> None:
    content = case.content
    survived = []
    for place in range(0, len(content), max(1, len(content) // 400)):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        try:
            verify(changed, case.trust)
        except EvidenceError:
            continue
        survived.append(place)
    # Times and modes of the archive's entries are nobody's word and are not read.
    assert [place for place in survived if not _is_in_directory(content, place)] == []


def _is_in_directory(content: bytes, place: int) -> bool:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if place >= archive.start_dir:
            return True
        return any(
            entry.header_offset + 4 <= place < entry.header_offset + 30 + len(entry.filename.encode())
            for entry in archive.infolist()
        )


def without(name: str) -> Callable[[Files], Files]:
    return lambda files: {key: value for key, value in files.items() if key != name}


def in_event(old: bytes, new: bytes) -> Callable[[Files], Files]:
    def edited(files: Files) -> Files:
        assert old in files["events.ndjson"]
        return {**files, "events.ndjson": files["events.ndjson"].replace(old, new, 1)}

    return edited


def swapped_events(files: Files) -> Files:
    first, second, *rest = files["events.ndjson"].split(b"\n")
    return {**files, "events.ndjson": b"\n".join([second, first, *rest])}


def event_twice(files: Files) -> Files:
    first = files["events.ndjson"].split(b"\n")[0]
    proofs = json.loads(files["proofs.json"])
    return {
        **files,
        "events.ndjson": first + b"\n" + files["events.ndjson"],
        "proofs.json": canonical_bytes([proofs[0], *proofs]),
    }


def places_as(written: Callable[[int], object]) -> Callable[[Files], Files]:
    def edited(files: Files) -> Files:
        proofs = [{**proof, "index": written(proof["index"])} for proof in json.loads(files["proofs.json"])]
        return {**files, "proofs.json": json.dumps(proofs).encode()}

    return edited


def other_document(files: Files) -> Files:
    return {
        name: data.replace(b"production", b"staging") if name.startswith("documents/") else data
        for name, data in files.items()
    }


def other_bundle(files: Files) -> Files:
    [name] = [name for name in files if name.startswith("bundles/")]
    return {**files, name: files[name][:-20]}


def older_checkpoint(files: Files) -> Files:
    note = files["checkpoint.note"].decode().split("\n")
    note[1] = str(int(note[1]) - 1)
    return {**files, "checkpoint.note": "\n".join(note).encode()}


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (without("proofs.json"), "no proofs.json"),
        (without("checkpoint.note"), "no checkpoint.note"),
        (without("events.ndjson"), "no events.ndjson"),
        (in_event(b'"outcome":"DENY"', b'"outcome":"ALLOW"'), "is not in the log"),
        (swapped_events, "is not the one that it commits to"),
        (event_twice, "stands in the package twice"),
        # What is no whole number here is one elsewhere, or another one.
        (places_as(str), "a proof cannot be read"),
        (places_as(float), "a proof cannot be read"),
        (places_as(lambda index: index + 0.5), "a proof cannot be read"),
        (places_as(bool), "a proof cannot be read"),
        (places_as(lambda index: -index - 1), "a proof cannot be read"),
        (other_document, "is not the one that was decided on"),
        (other_bundle, "bundle"),
        (older_checkpoint, "signature of the checkpoint"),
    ],
)
def test_what_somebody_with_the_package_key_forges_is_found_out(
    case: Case, edit: Callable[[Files], Files], told: str
) -> None:
    with pytest.raises(EvidenceError, match=told):
        verify(case.signed_again(edit(case.files())), case.trust)


def test_a_package_of_other_keys_is_not_believed(case: Case) -> None:
    other = NoteKey("aisecops.example/log/other", KeyKind.LOG, b"k" * 32).text()
    with pytest.raises(EvidenceError, match="another log key"):
        verify(case.content, Trust(other, case.trust.evidence_key))
    with pytest.raises(EvidenceError, match="another evidence key"):
        verify(case.content, Trust(case.trust.log_key, "00" * 32))
    witness = "witness.example+00000000+" + base64.b64encode(b"\x04" + b"k" * 32).decode()
    with pytest.raises(EvidenceError, match="is no key"):
        verify(case.content, Trust(case.trust.log_key, "", (witness,)))


def raw(files: Mapping[str, bytes], change: Callable[[zipfile.ZipFile], None]) -> bytes:
    target = io.BytesIO(pack(files))
    with zipfile.ZipFile(target, "a") as archive:
        change(archive)
    return target.getvalue()


def entry(name: str, **fields: object) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    for key, value in fields.items():
        setattr(made, key, value)
    return made


@pytest.mark.parametrize(
    "change",
    [
        lambda archive: archive.writestr(entry("../escape"), b"x"),
        lambda archive: archive.writestr(entry("/absolute"), b"x"),
        lambda archive: archive.writestr(entry("folder/"), b""),
        lambda archive: archive.writestr(entry("C:/drive"), b"x"),
        lambda archive: archive.writestr(entry("bomb", compress_type=zipfile.ZIP_DEFLATED), b"0" * 10_000_000),
        lambda archive: archive.writestr(entry("extra", extra=b"\x00\x00\x04\x00abcd"), b"x"),
        lambda archive: archive.writestr(entry("unlisted"), b"x"),
        lambda archive: setattr(archive, "comment", b"hello"),
    ],
)
def test_an_archive_that_is_not_plain_is_not_read(case: Case, change: Callable[[zipfile.ZipFile], None]) -> None:
    with pytest.raises(EvidenceError):
        verify(raw(case.files(), change), case.trust)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "broken",
    [
        lambda content: b"",
        lambda content: b"not a zip",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"#!/bin/sh\n" + content,
        lambda content: content + b"trailing",
        lambda content: content + content,
        lambda content: raw(read_package(content), lambda archive: archive.writestr(entry(MANIFEST), b"{}")),
    ],
)
def test_an_archive_that_is_torn_or_more_than_itself_is_not_read(case: Case, broken: Callable[[bytes], bytes]) -> None:
    with pytest.raises(EvidenceError):
        verify(broken(case.content), case.trust)


@pytest.mark.parametrize(
    ("entry_", "told"),
    [
        (("../../escape", b"x", tarfile.REGTYPE), "has an entry"),
        (("link", b"", tarfile.SYMTYPE), "has an entry"),
        (("hard", b"", tarfile.LNKTYPE), "has an entry"),
        (("device", b"", tarfile.CHRTYPE), "has an entry"),
        ((".manifest", b"{}", tarfile.REGTYPE), "has an entry"),
        (("more.rego", b"package evil", tarfile.REGTYPE), "other content than its digest"),
        (("bomb", b"0" * (129 << 20), tarfile.REGTYPE), "other content than its digest|no gzipped tar"),
    ],
)
def test_a_bundle_with_more_in_it_than_its_digest_says_is_refused(
    case: Case, entry_: tuple[str, bytes, bytes], told: str
) -> None:
    files = case.files()
    name = next(path for path in files if path.startswith("bundles/"))
    with pytest.raises(EvidenceError, match=told):
        verify(case.signed_again({**files, name: stuffed(files[name], *entry_)}), case.trust)


def stuffed(bundle: bytes, name: str, content: bytes, kind: bytes) -> bytes:
    """Return a bundle with one more entry."""
    raw = io.BytesIO(gzip.decompress(bundle))
    with tarfile.open(fileobj=raw, mode="a") as tar:
        extra = tarfile.TarInfo(name)
        extra.type, extra.size, extra.linkname = kind, len(content), "/etc/passwd"
        tar.addfile(extra, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), 1)


def test_a_package_that_claims_more_than_anybody_reads_is_refused_before_it_is_read(case: Case) -> None:
    content = bytearray(case.content)
    # The directory says of the first file that it has four gigabytes.
    at = content.rindex(b"PK\x01\x02", 0, content.index(b"PK\x05\x06"))
    content[at + 20 : at + 28] = b"\xfe\xff\xff\xff" * 2
    with pytest.raises(EvidenceError, match=r"too large|not stored plainly|stands"):
        verify(bytes(content), case.trust)


def test_it_verifies_and_reproduces_without_a_network_or_anything_installed(case: Case, tmp_path: Path) -> None:
    """With nothing but the file, `cryptography` and the engine, and no network where the system allows that."""
    script, package = tmp_path / "verify.py", tmp_path / "case.zip"
    script.write_bytes(Path(aisecops_verify.__file__).with_name("one_file.py").read_bytes())
    package.write_bytes(case.content)
    apart = ["unshare", "--user", "--map-root-user", "--net", "--"]
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        apart = []
    call = [*apart, sys.executable, "-I", str(script), str(package), "--log-key", case.trust.log_key]
    call += ["--evidence-key", case.trust.evidence_key, "--reproduce", str(opa_binary())]
    done = subprocess.run(call, check=False, cwd=tmp_path, env={}, capture_output=True, text=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert "✓ 2 decisions come out the same" in done.stdout


@pytest.mark.asyncio
async def test_what_cannot_be_packed_is_told_so(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as (plane, client):
        trace = await decide(client)
        for request, expected in (
            (EvidenceRequest(), InvalidRequestError),
            (EvidenceRequest([trace], TraceFilter()), InvalidRequestError),
            (EvidenceRequest(["0" * 32]), NotFoundError),
            (EvidenceRequest(narrow=TraceFilter(agent_id="nobody")), NotFoundError),
        ):
            with pytest.raises(expected):
                await plane.export(request, principal=AUDITOR)
        for archive in (settings.state_dir / "bundles" / "archives").iterdir():
            archive.unlink()
        with pytest.raises(IntegrityError, match="is not there any more"):
            await plane.export(EvidenceRequest([trace]), principal=AUDITOR)
