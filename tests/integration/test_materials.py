"""The bill of materials: valid, whole, the same twice, and about the engine that is installed."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from aisecops_server.adapters.airgap.cyclonedx import SPECIFICATION
from aisecops_server.adapters.airgap.go_modules import modules_of
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from docs.generate import materials
from docs.generate.licences import LOCK, licensed
from tests.house.test_licences import refused
from tests.support import opa_binary


@pytest.fixture(scope="module")
def written() -> bytes:
    return materials.bill(opa_binary())


@pytest.fixture(scope="module")
def bill(written: bytes) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(written)
    return read


def terms_of(component: dict[str, Any]) -> str:
    [one] = component["licenses"]
    return str(
        one.get("expression", "").replace("LicenseRef-", "") or one["license"].get("id") or one["license"]["name"]
    )


def test_it_is_what_the_specification_asks_for(written: bytes) -> None:
    validator = JsonStrictValidator(SchemaVersion.from_version(SPECIFICATION))
    assert validator.validate_str(written.decode()) is None
    bad = written.replace(b'"specVersion": "1.6"', b'"specVersion": "1.6", "unknown": 1')
    assert validator.validate_str(bad.decode()) is not None


def test_it_is_the_same_twice_and_says_nothing_of_when_or_where(written: bytes) -> None:
    assert materials.bill(opa_binary()) == written
    assert b"timestamp" not in written
    assert str(Path.home()).encode() not in written


def test_it_holds_every_locked_package_with_the_hashes_of_the_lock(bill: dict[str, Any]) -> None:
    packages = {one["name"]: one for one in bill["components"] if one["purl"].startswith("pkg:pypi/")}
    assert {name: one["version"] for name, one in packages.items()} == {one.name: one.version for one in licensed()}
    lock = LOCK.read_text()
    for one in packages.values():
        digests = [item["content"] for item in one["externalReferences"][0]["hashes"]]
        assert digests
        assert all(f"--hash=sha256:{digest}" in lock for digest in digests)


def test_it_names_the_engine_by_the_digest_of_its_file_with_its_modules(bill: dict[str, Any]) -> None:
    [opa] = [one for one in bill["components"] if one["name"] == "opa"]
    assert opa["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(opa_binary().read_bytes()).hexdigest()}]
    named = {one["purl"] for one in bill["components"] if one["purl"].startswith("pkg:golang/")}
    assert named == {f"pkg:golang/{one.path}@{quote(one.version)}" for one in modules_of(opa_binary())}
    below = next(item for item in bill["dependencies"] if item["ref"] == opa["bom-ref"])
    assert set(below["dependsOn"]) == named - {opa["bom-ref"]}


@pytest.mark.skipif(not shutil.which("go"), reason="there is no Go to hold our reading of its format against")
def test_the_modules_are_those_that_go_reads_in_the_same_file() -> None:
    said = subprocess.run(["go", "version", "-m", str(opa_binary())], check=True, capture_output=True, text=True).stdout
    dependencies = re.findall(r"^\t(?:mod|dep)\t(\S+)\t(\S+)\t(\S+)", said, re.MULTILINE)
    own, standard, *others = modules_of(opa_binary())
    assert [(one.path, one.version, one.sum) for one in (own, *others)] == dependencies
    assert f": go{standard.version}\n" in said


def test_every_licence_is_told_and_accepted(bill: dict[str, Any]) -> None:
    assert len(bill["components"]) > 120
    assert {one["name"]: terms_of(one) for one in bill["components"] if refused(terms_of(one))} == {}


def test_what_is_no_go_program_or_has_an_unknown_module_is_no_engine_of_a_bill(tmp_path: Path) -> None:
    nothing = tmp_path / "opa"
    nothing.write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(LookupError, match="does not say"):
        materials.bill(nothing)
    other = tmp_path / "other"
    other.write_bytes(opa_binary().read_bytes().replace(b"github.com/gobwas/glob", b"github.com/gobwas/glib"))
    with pytest.raises(LookupError, match=r"gobwas/glib are not known"):
        materials.bill(other)
