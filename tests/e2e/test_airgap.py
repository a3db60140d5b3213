"""What is carried to where there is no network installs and decides there; what was touched does not install."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aisecops_server.adapters.airgap import materials
from aisecops_server.adapters.airgap.cyclonedx import SPECIFICATION
from aisecops_server.adapters.airgap.distributions import OURS, pinned
from aisecops_server.adapters.airgap.go_modules import modules_of
from aisecops_server.adapters.git.create import create_policy_repository
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support import opa_binary

pytestmark = pytest.mark.timeout(600)

AGENT = "spiffe://corp.example/agent/support-assistant"
PLAN = {
    "intent": "summarise a ticket",
    "environment": "production",
    "steps": [{"step_id": "read", "tool": "tickets/read", "arguments": {"ticket_id": "T-4711"}}],
    "sources": [{"source_id": "p", "kind": "user_prompt", "content": "Please summarise ticket T-4711."}],
}
# Serves, waits until it decides, asks, stops; with nothing but a loopback that is down.
DECIDE = """
set -eu
"$1/bin/aisecops" serve --repository "$1/policy.git" --ui-address "" 2>serve.log &
server=$!
trap 'kill $server; wait $server' EXIT
tries=0
until "$1/bin/aisecops" health >/dev/null 2>&1; do
  tries=$((tries + 1)); [ $tries -lt 200 ]; kill -0 $server
done
"$1/bin/aisecops" decide -f plan.json --agent "$2" --quiet -o json > answer.json
"""


def without_network(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run something in a network namespace of its own, which reaches nobody."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return subprocess.run(
        ["unshare", "--map-root-user", "--net", *command],
        cwd=cwd,
        env={**kept, "HOME": str(cwd), **environment},
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the one file unpacks to."""
    root = tmp_path_factory.mktemp("airgap")
    if shutil.which("unshare") is None or without_network("true", cwd=root).returncode:
        pytest.skip("this system gives no network namespaces: unshare --map-root-user --net true")
    create_policy_repository(root / "policy", at_seconds=1_790_000_000)
    os.environ["AISECOPS_ENGINE_PATH"] = str(opa_binary())
    try:
        assert run(["airgap", "pack", str(root / "a.tar.gz"), "--policy", str(root / "policy"), "-o", "json"]) == 0
        assert run(["airgap", "pack", str(root / "a.tar.gz"), "-o", "json"]) == ExitCode.USAGE
    finally:
        del os.environ["AISECOPS_ENGINE_PATH"]
    with tarfile.open(root / "a.tar.gz") as tar:
        tar.extractall(root, filter="data")
    return root / "aisecops-airgap"


def test_it_installs_and_decides_where_there_is_no_network(carried: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "opt"
    done = without_network("sh", str(carried / "install.sh"), str(prefix), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wheels = {path.name for path in (carried / "wheels").iterdir()}
    assert len(wheels) == len(pinned()) + 1
    (tmp_path / "plan.json").write_text(json.dumps(PLAN), "utf-8")
    engine = {"AISECOPS_ENGINE_DIR": str(prefix / "engine"), "AISECOPS_STATE_DIR": str(tmp_path / "state")}
    asked = without_network("sh", "-c", DECIDE, "sh", str(prefix), AGENT, cwd=tmp_path, **engine)
    assert asked.returncode == 0, (asked.stderr, (tmp_path / "serve.log").read_text())
    answer = json.loads((tmp_path / "answer.json").read_text("utf-8"))
    assert answer["decision"]["outcome"] == "OUTCOME_ALLOW"
    assert answer["decision"]["bundleRevision"]


def test_its_bill_of_materials_names_every_file_that_is_installed_and_nothing_else(carried: Path) -> None:
    written = (carried / "sbom.cdx.json").read_bytes()
    assert JsonStrictValidator(SchemaVersion.from_version(SPECIFICATION)).validate_str(written.decode()) is None
    assert materials.bill(carried) == written
    bill = json.loads(written)
    wheels_and_opa = [*(carried / "wheels").iterdir(), carried / "opa"]
    sums = {
        path.relative_to(carried).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in wheels_and_opa
    }
    placed = {place_of(one): one for one in bill["components"] if "evidence" in one}
    assert {place: one["hashes"] for place, one in placed.items()} == {
        place: [{"alg": "SHA-256", "content": digest}] for place, digest in sums.items()
    }
    packages = {one["purl"]: one for one in placed.values() if one["name"] != "opa"}
    pins = [*pinned(), f"{OURS}=={metadata.version(OURS)}"]
    assert set(packages) == {"pkg:pypi/{}@{}".format(*map(quote, pin.split("=="))) for pin in pins}
    assert [purl for purl, one in packages.items() if not one.get("licenses")] == []
    others = [one["purl"] for one in bill["components"] if one["purl"] not in packages]
    assert others == [f"pkg:golang/{one.path}@{quote(one.version)}" for one in modules_of(carried / "opa")]
    assert f"{hashlib.sha256(written).hexdigest()}  sbom.cdx.json\n" in (carried / "SHA256SUMS").read_text()


def place_of(component: dict[str, Any]) -> str:
    [place] = component["evidence"]["occurrences"]
    return str(place["location"])


@pytest.mark.parametrize("name", ["opa", "install.sh", "requirements.txt", "sbom.cdx.json"])
def test_what_was_touched_on_the_way_is_not_installed(carried: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(carried, copy, copy_function=os.link)
    content = (copy / name).read_bytes()
    (copy / name).unlink()
    (copy / name).write_bytes(content + b"\n")
    done = without_network("sh", str(copy / "install.sh"), str(tmp_path / "opt"), cwd=tmp_path)
    assert done.returncode != 0
    assert name in done.stdout + done.stderr
    assert not (tmp_path / "opt").exists()


def test_nothing_is_installed_over_what_is_there(carried: Path, tmp_path: Path) -> None:
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "mine").touch()
    # A relative folder is one of who asks, not of what was unpacked.
    for prefix in (str(tmp_path / "opt"), "opt"):
        done = without_network("sh", str(carried / "install.sh"), prefix, cwd=tmp_path)
        assert (done.returncode, "already" in done.stderr) == (1, True)
