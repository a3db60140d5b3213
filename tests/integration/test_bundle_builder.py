"""Policy trees become bundles with a real OPA: reproducible, verified, and refused with file and line."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from aisecops_server.adapters.bundles.archive import bundle_digest, read_archive
from aisecops_server.adapters.bundles.builder import OpaBundleBuilder
from aisecops_server.domain.bundles.bundle import Bundle, CommitId, PolicyTree, RuleDoc
from aisecops_server.domain.errors import (
    AisecopsError,
    BundleRejectedError,
    EngineUnavailableError,
    IntegrityError,
)

from tests.scenes.policy.git_remotes import OWNED
from tests.scenes.policy.policy_library import DECISION, POLICY, RULE, RULE_PATH, builder, library
from tests.support import opa_binary

pytestmark = pytest.mark.asyncio

COMMIT = CommitId("0123456789abcdef0123456789abcdef01234567")


def tree(changes: Mapping[str, bytes | None] | None = None, *, commit: CommitId = COMMIT) -> PolicyTree:
    files = {**POLICY, **(changes or {})}
    return PolicyTree(commit, {path: content for path, content in files.items() if content is not None})


async def refusal(state: Path, changes: Mapping[str, bytes | None]) -> BundleRejectedError:
    with pytest.raises(BundleRejectedError) as refused:
        await builder(state).build(tree(changes))
    return refused.value


def contents(bundle: Bundle) -> dict[str, bytes]:
    return read_archive(bundle.archive.read_bytes())


async def test_a_bundle_holds_policy_tables_and_what_guards_the_engine_and_nothing_else(tmp_path):
    files = contents(await builder(tmp_path).build(tree()))
    assert set(files) == {
        ".manifest",
        ".signatures.json",
        "data.json",
        "aisecops/decision/decision.rego",
        "aisecops/rules/identity/unknown_agent/unknown_agent.rego",
        "aisecops/batch/batch.rego",
        "system/authz.rego",
    }
    assert files["aisecops/decision/decision.rego"] == DECISION
    assert json.loads(files["data.json"])["tables"]["agents"] == {"support": {"owner": "team"}}
    manifest = json.loads(files[".manifest"])
    assert manifest["revision"] == COMMIT
    assert manifest["roots"] == ["aisecops", "tables", "system"]
    assert manifest["metadata"]["name"] == "test"
    assert manifest["metadata"]["input_schema_version"] == 1


async def test_the_same_tree_gives_the_same_bytes_wherever_it_is_built(tmp_path):
    one = await builder(tmp_path / "one").build(tree())
    (tmp_path / "other" / "state").mkdir(parents=True)
    (tmp_path / "other" / "state" / "keys").symlink_to(tmp_path / "one" / "keys")
    other = await builder(tmp_path / "other" / "state").build(tree())
    assert one.archive.read_bytes() == other.archive.read_bytes()
    assert one.digest == other.digest


async def test_the_digest_names_content_and_revision_and_not_the_signature(tmp_path):
    bundle = await builder(tmp_path / "one").build(tree())
    other_key = await builder(tmp_path / "two").build(tree())
    other_commit = await builder(tmp_path / "three").build(tree(commit=CommitId("f" * 40)))
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  {path}\n"
        for path, content in sorted(contents(bundle).items())
        if path != ".signatures.json"
    ]
    assert bundle.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert other_key.archive.read_bytes() != bundle.archive.read_bytes()
    assert other_key.digest == bundle.digest
    assert other_commit.digest != bundle.digest


async def test_a_bundle_is_signed_for_every_file_under_our_key_id(tmp_path):
    files = contents(await builder(tmp_path).build(tree()))
    token = json.loads(files[".signatures.json"])["signatures"][0]
    head, payload = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    assert head["alg"] == "EdDSA"
    assert payload["keyid"] == "aisecops"
    assert {file["name"] for file in payload["files"]} == set(files) - {".signatures.json"}


async def test_rules_and_tools_are_catalogued_with_their_place(tmp_path):
    bundle = await builder(tmp_path).build(tree())
    line = RULE.decode().splitlines().index("package aisecops.rules.identity.unknown_agent") + 1
    assert bundle.rules == (
        RuleDoc(
            rule="identity.unknown_agent",
            title="Unknown agent",
            description="Nobody registered this agent.",
            effect="deny",
            severity="high",
            owner="platform",
            file=RULE_PATH,
            line=line,
        ),
    )
    assert bundle.tools == ("crm/read", "mail/send")


async def test_the_repository_cannot_bring_its_own_engine_authorization_or_batch_harness(tmp_path):
    harness = b"package aisecops.batch\n\ndecisions := []\n"
    bundle = await builder(tmp_path).build(tree({"rego/aisecops/batch/batch.rego": harness}))
    shipped = library(tmp_path / "shipped")
    for name in ("system/authz.rego", "aisecops/batch/batch.rego"):
        assert contents(bundle)[name] == (shipped / name).read_bytes()


@pytest.mark.parametrize(
    ("package", "rest"),
    [
        ("system.authz", "allow := true"),
        ("system", "authz.allow := true"),
        ("system.log", "drop := true"),
        ("tables.agents", "evil := {}"),
        ("aisecops.batch", "extra := 1"),
        ("aisecops.batch.more", "extra := 1"),
        ("aisecopsx", "extra := 1"),
        ('aisecops["batch"]', "extra := 1"),
    ],
)
async def test_a_rule_cannot_declare_a_package_that_is_not_its_own(tmp_path, package, rest):
    error = await refusal(tmp_path, {"rego/aisecops/x/x.rego": f"package {package}\n\n{rest}\n".encode()})
    assert "aisecops/x/x.rego" in error.message


@pytest.mark.parametrize(
    "call",
    [
        'http.send({"method": "get", "url": "https://example.invalid"})',
        "opa.runtime()",
        "time.now_ns()",
        'rand.intn("x", 9)',
        'uuid.rfc4122("x")',
        'net.lookup_ip_addr("example.invalid")',
    ],
)
async def test_what_would_make_a_decision_depend_on_more_than_its_document_is_refused(tmp_path, call):
    error = await refusal(tmp_path, {RULE_PATH: RULE + f"\nx := {call}\n".encode()})
    line = RULE.decode().count("\n") + 2
    assert error.message.startswith(f"{RULE_PATH}:{line}: undefined function {call.partition('(')[0]}")
    assert error.metadata() == {"file": RULE_PATH, "line": str(line)}


async def test_capabilities_of_the_repository_widen_nothing(tmp_path):
    await refusal(
        tmp_path,
        {
            "rego/capabilities.json": b'{"builtins": [{"name": "http.send"}]}',
            RULE_PATH: RULE + b'\nx := http.send({"method": "get", "url": "x"})\n',
        },
    )


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        (b"package aisecops.x\n\nallow if {\n", 4, "unexpected eof"),
        (b"package aisecops.x\n\nallow if nothing_of_that_name\n", 3, "unsafe"),
        (b'package aisecops.x\n\nx := count(1, "a")\n', 3, "count"),
        (b"package aisecops.x\n\nimport data.aisecops.lib\n\ny := 1\n", 3, "unused"),
        (b"\xff\xfe\x00", 1, ""),
    ],
)
async def test_broken_rego_is_refused_with_file_and_line(tmp_path, content, line, why):
    error = await refusal(tmp_path, {"rego/aisecops/x/x.rego": content})
    assert "rego/aisecops/x/x.rego" in error.message
    if why:
        assert f"rego/aisecops/x/x.rego:{line}" in error.message
        assert why in error.message


async def test_a_misspelt_field_of_the_document_is_refused_by_the_shipped_schema(tmp_path):
    shipped = library(tmp_path / "shipped")
    schema = Path(__file__).parents[2] / "rego" / "schemas" / "input.json"
    (shipped / "schemas" / "input.json").write_bytes(schema.read_bytes())
    rule = b"# METADATA\n# schemas:\n#   - input: schema.input\npackage aisecops.x\n\nx if input.plan.stepps\n"
    with pytest.raises(BundleRejectedError, match=r"rego/aisecops/x/x\.rego:6: undefined ref: input\.plan\.stepps"):
        await builder(tmp_path, library_directory=shipped).build(tree({"rego/aisecops/x/x.rego": rule}))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bundle.yaml": None}, "bundle.yaml: the file is missing"),
        ({"bundle.yaml": b"owner: me\n"}, "bundle.yaml: it has no 'name'"),
        ({"bundle.yaml": b"name: x\nroots: ['']\n"}, "bundle.yaml: the roots are not its own"),
        ({"bundle.yaml": b"name: x\n"}, "bundle.yaml: nobody owns bundle.yaml"),
        ({"bundle.yaml": OWNED.replace(b"  data:", b"  data/tools.yaml:")}, "nobody owns data/agents.yaml"),
        ({"bundle.yaml": OWNED.replace(b"  rego:", b"  rego/aisecops:")}, "bundle.yaml: nobody owns rego"),
        (
            {"bundle.yaml": OWNED.replace(b"role: platform", b"role: app")},
            "bundle.yaml: owners.data.role: Input should be",
        ),
        ({"bundle.yaml": OWNED.replace(b"role: platform", b"role: security")}, "nobody reviews their own changes"),
        ({"bundle.yaml": OWNED.replace(b", reviewed_by: platform", b"")}, "reviewed_by: Field required"),
        ({"bundle.yaml": b"name: x\nowners: [me]\n"}, "bundle.yaml: owners.: Input should be a valid dictionary"),
        ({"data/agents.yaml": b"a: 1\na: 2\n"}, "data/agents.yaml:2: the key 'a' stands twice"),
        ({"data/agents.yml": b"a: 1\n"}, "data/agents.yml: the table stands in data/agents.yaml already"),
        ({"data/deep/agents.yaml": b"a: 1\n"}, "data/deep/agents.yaml: it is not a table"),
        ({"rego/aisecops/data.json": b"{}"}, "rego/aisecops/data.json: it is not a place for policy"),
        ({"rego/aisecops/data.yaml": b"{}"}, "rego/aisecops/data.yaml: it is not a place for policy"),
        ({"rego/other/x.rego": b"package other"}, "rego/other/x.rego: it is not a place for policy"),
        ({"rego/system/log.rego": b"package system.log"}, "rego/system/log.rego: it is not a place for policy"),
        ({"rego/aisecops/decision/decision.rego": None}, "no file declares the package aisecops.decision"),
    ],
)
async def test_a_tree_that_is_not_laid_out_as_policy_is_refused(tmp_path, changes, why):
    assert why in (await refusal(tmp_path, changes)).message


async def test_tables_that_break_their_schema_are_refused_in_the_words_of_the_schema(tmp_path):
    def refuse(files):
        raise BundleRejectedError("data/agents.yaml: support.owner: must be a name", table="agents", key="support")

    with pytest.raises(BundleRejectedError, match=r"support\.owner"):
        await builder(tmp_path, compile_tables=refuse).build(tree())


async def test_a_changed_table_is_not_compiled_again_and_changed_rego_is(tmp_path):
    runs: list[Path] = []

    def binary() -> Path:
        runs.append(opa_binary())
        return runs[-1]

    def commit(number: int) -> CommitId:
        return CommitId(f"{number:040x}")

    async def runs_of(changes: Mapping[str, bytes | None], number: int) -> tuple[int, Bundle]:
        before = len(runs)
        bundle = await once.build(tree(changes, commit=commit(number)))
        return len(runs) - before, bundle

    once, table = builder(tmp_path / "once", binary=binary), {"data/agents.yaml": b"other: {owner: team}\n"}
    first, _ = await runs_of({}, 1)
    then, changed = await runs_of(table, 2)
    assert (first, then) == (2, 0)
    assert changed.rules == (await builder(tmp_path / "anew").build(tree(table, commit=commit(2)))).rules
    assert json.loads(contents(changed)["data.json"])["tables"]["agents"] == {"other": {"owner": "team"}}
    assert (await runs_of({RULE_PATH: RULE + b"# more\n"}, 3))[0] == 2
    assert (await runs_of({"data/more.yaml": b"a: 1\n"}, 4))[0] == 2
    with pytest.raises(BundleRejectedError):
        await once.build(tree({RULE_PATH: b"package"}, commit=commit(5)))
    with pytest.raises(BundleRejectedError):
        await once.build(tree({RULE_PATH: b"package"}, commit=commit(6)))


async def test_a_refused_tree_leaves_nothing_in_the_store(tmp_path):
    await refusal(tmp_path, {RULE_PATH: b"package"})
    assert await builder(tmp_path).stored(COMMIT) is None
    assert [path for path in (tmp_path / "bundles").rglob("*") if path.is_file()] == []


async def test_a_stored_bundle_is_served_without_building_and_survives_a_restart(tmp_path):
    built = await builder(tmp_path).build(tree())
    again = OpaBundleBuilder(
        directory=tmp_path / "bundles",
        library=tmp_path / "library",
        signer=builder(tmp_path)._signer,
        binary=lambda: Path("/nowhere/opa"),
        compile_tables=dict,
    )
    assert await again.stored(COMMIT) == built
    assert await again.build(tree()) == built
    assert await again.stored(CommitId("f" * 40)) is None


async def test_the_store_is_for_its_owner_only(tmp_path):
    await builder(tmp_path).build(tree())
    for path in (tmp_path / "bundles").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def _flip(content: bytes) -> bytes:
    return content[:200] + bytes([content[200] ^ 1]) + content[201:]


def _with_file(content: bytes, name: str, data: bytes) -> bytes:
    files = {**{f"/{path}": file for path, file in read_archive(content).items()}, name: data}
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, file in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(file)
            tar.addfile(member, io.BytesIO(file))
    return gzip.compress(raw.getvalue())


@pytest.mark.parametrize(
    "tamper",
    [
        _flip,
        lambda content: b"",
        lambda content: content[:-20],
        lambda content: content + b"\x00",
        lambda content: _with_file(content, "/aisecops/decision/decision.rego", b"package aisecops.decision\n"),
        lambda content: _with_file(content, "/aisecops/more.rego", b"package aisecops.more\n"),
        lambda content: gzip.compress(gzip.decompress(content), mtime=1),
    ],
)
async def test_a_bundle_that_was_changed_on_disk_is_not_served_and_is_built_anew(tmp_path, tamper):
    bundle = await builder(tmp_path).build(tree())
    honest = bundle.archive.read_bytes()
    bundle.archive.write_bytes(tamper(honest))
    assert await builder(tmp_path).stored(COMMIT) is None
    assert await builder(tmp_path).build(tree()) == bundle
    assert bundle.archive.read_bytes() == honest


async def test_a_record_that_was_changed_with_the_bundle_is_not_believed(tmp_path):
    bundle = await builder(tmp_path).build(tree())
    evil = _with_file(bundle.archive.read_bytes(), "/aisecops/decision/decision.rego", b"package aisecops.decision\n")
    digest = bundle_digest(read_archive(evil))
    (bundle.archive.parent / f"{digest}.tar.gz").write_bytes(evil)
    index = tmp_path / "bundles" / "revisions" / f"{COMMIT}.json"
    signed = json.loads(index.read_bytes())
    signed["record"] |= {"digest": digest, "archive_sha256": hashlib.sha256(evil).hexdigest()}
    index.write_text(json.dumps(signed))
    assert await builder(tmp_path).stored(COMMIT) is None


async def test_a_record_of_another_revision_does_not_stand_in(tmp_path):
    await builder(tmp_path).build(tree())
    revisions = tmp_path / "bundles" / "revisions"
    other = CommitId("f" * 40)
    (revisions / f"{other}.json").write_bytes((revisions / f"{COMMIT}.json").read_bytes())
    assert await builder(tmp_path).stored(other) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"record": {}, "signature": "x"}', b"\xff", b"[" * 10_000])
async def test_a_record_that_is_rubbish_counts_as_none(tmp_path, content):
    await builder(tmp_path).build(tree())
    (tmp_path / "bundles" / "revisions" / f"{COMMIT}.json").write_bytes(content)
    assert await builder(tmp_path).stored(COMMIT) is None


async def test_a_bundle_signed_by_another_key_is_not_served(tmp_path):
    await builder(tmp_path).build(tree())
    (tmp_path / "keys" / "bundle.pem").unlink()
    assert await builder(tmp_path).stored(COMMIT) is None


@pytest.mark.parametrize("revision", ["../../etc/passwd", "", "main", "0" * 41])
async def test_only_a_whole_commit_id_names_a_stored_bundle(tmp_path, revision):
    assert await builder(tmp_path).stored(CommitId(revision)) is None


async def test_a_bundle_is_built_anew_when_the_products_own_part_changed(tmp_path):
    bundle = await builder(tmp_path).build(tree())
    newer = library(tmp_path / "newer")
    guard = newer / "system" / "authz.rego"
    guard.write_bytes(guard.read_bytes() + b"# stricter\n")
    assert await builder(tmp_path, library_directory=newer).stored(COMMIT) is None
    rebuilt = await builder(tmp_path, library_directory=newer).build(tree())
    assert rebuilt.digest != bundle.digest
    assert bundle.archive.exists()


async def test_a_library_that_is_not_whole_is_an_error_at_once(tmp_path):
    shipped = library(tmp_path / "shipped")
    (shipped / "system" / "authz.rego").unlink()
    with pytest.raises(EngineUnavailableError, match="not whole"):
        builder(tmp_path, library_directory=shipped)


async def test_no_engine_to_build_with_is_an_error_that_says_what_to_do(tmp_path):
    unable = builder(tmp_path)
    unable._opa = type(unable._opa)(lambda: tmp_path / "no-opa")
    with pytest.raises(EngineUnavailableError, match="cannot be started") as refused:
        await unable.build(tree())
    assert "engine install" in refused.value.diagnostics()


async def test_a_compiler_that_does_not_end_is_killed(tmp_path):
    stuck = tmp_path / "stuck"
    stuck.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 600\n")
    stuck.chmod(0o755)
    slow = builder(tmp_path)
    slow._opa = type(slow._opa)(lambda: stuck, timeout_seconds=1.0)
    with pytest.raises(BundleRejectedError, match="did not end within"):
        await slow.build(tree())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_a_compiler_runs_with_nothing_of_our_environment_and_a_limit_on_memory(tmp_path):
    curious = tmp_path / "curious"
    curious.write_text(f"#!/bin/sh\n{{ ulimit -d; /usr/bin/env; }} > {tmp_path}/seen\nexit 1\n")
    curious.chmod(0o755)
    watched = builder(tmp_path)
    watched._opa = type(watched._opa)(lambda: curious)
    with pytest.raises(BundleRejectedError):
        await watched.build(tree())
    limit, *environment = (tmp_path / "seen").read_text().splitlines()
    assert int(limit) == 1024 * 1024
    given = dict(line.split("=", 1) for line in environment)
    assert given.keys() - {"PWD", "_", "SHLVL", "OLDPWD"} == {"GOGC", "GOMEMLIMIT"}
    # Its collector works hard before the limit on memory ends it.
    assert int(given["GOMEMLIMIT"]) < int(limit) * 1024


async def test_a_store_that_cannot_be_written_is_an_error_and_serves_nothing(tmp_path):
    full = builder(tmp_path)
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "archives").write_text("a file")
    with pytest.raises(IntegrityError, match="cannot be written"):
        await full.build(tree())
    assert await full.stored(COMMIT) is None


async def test_two_builds_of_one_tree_at_once_give_one_bundle(tmp_path):
    shared = builder(tmp_path)
    first, second = await asyncio.gather(shared.build(tree()), shared.build(tree()))
    assert first == second


async def test_every_error_of_a_build_is_one_of_ours(tmp_path):
    hostile = (b"\x00", b"package \xff", b"package a\n" + b"(" * 20_000, b"package aisecops.x\nx := " + b"[" * 5000)
    for content in hostile:
        with pytest.raises(AisecopsError):
            await builder(tmp_path).build(tree({"rego/aisecops/x/x.rego": content}))
