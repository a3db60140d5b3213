"""What gets installed is pinned, hashed, complete, and names no place to get it from."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from tests.house import tree

LOCKS = ("requirements/server.lock", "requirements/dev.lock", "requirements/frameworks.lock")
PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)(?: ; (.+?))? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")


def _pins(lock: str) -> dict[str, str]:
    found = (PINNED.match(line) for line in tree.text(lock).splitlines())
    return {_normal(match[1]): match[2] for match in found if match}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _wanted(*extras: str) -> set[str]:
    project = tomllib.loads(tree.text("pyproject.toml"))
    lines = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in extras:
        lines += project["project"]["optional-dependencies"][extra]
    return {_normal(re.match(r"[A-Za-z0-9._-]+", line)[0]) for line in lines}


def test_a_lock_holds_pins_hashes_and_comments_and_nothing_else() -> None:
    foreign = [
        f"{lock}: {line}"
        for lock in LOCKS
        for line in tree.text(lock).splitlines()
        if not (PINNED.match(line) or HASH.match(line) or line.startswith("    #"))
    ]
    assert foreign == []


def test_every_pin_has_a_hash() -> None:
    for lock in LOCKS:
        pairs = itertools.pairwise(tree.text(lock).splitlines())
        assert [line for line, after in pairs if PINNED.match(line) and not HASH.match(after)] == []


def test_every_requirement_is_locked_and_so_is_the_build_backend() -> None:
    assert _wanted("server") - _pins("requirements/server.lock").keys() == set()
    assert _wanted("server", "dev") - _pins("requirements/dev.lock").keys() == set()


def test_the_checks_run_on_the_very_versions_that_serve() -> None:
    server, checks = _pins("requirements/server.lock"), _pins("requirements/dev.lock")
    assert {name: version for name, version in server.items() if checks.get(name) != version} == {}
    # They are installed into the same environment.
    frameworks = _pins("requirements/frameworks.lock")
    assert {name: version for name, version in frameworks.items() if checks.get(name, version) != version} == {}


def test_what_is_shipped_beside_the_code_exists() -> None:
    shipped = tomllib.loads(tree.text("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert [source for source in shipped if not tree.under(f"{source}/")] == []


def _wheel(root: Path, into: Path) -> Path:
    # Through the backend itself: nothing is fetched, and the tree is left as it is.
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(into)],
        cwd=root,
        check=True,
        capture_output=True,
    )
    (wheel,) = into.glob("*.whl")
    return wheel


def test_who_builds_the_wheel_from_the_same_tree_gets_the_same_bytes(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "another-name"
    for path in tree.files():
        target = copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree.ROOT / path, target)
        # Another day, and who copied it lets nobody else read it.
        os.utime(target, (1_000_000_000, 1_000_000_000))
        target.chmod(0o700 if os.access(tree.ROOT / path, os.X_OK) else 0o600)
    built = [_wheel(tree.ROOT, tmp_path / "a"), _wheel(copy, tmp_path / "b")]
    assert [wheel.name for wheel in built] == [built[0].name] * 2
    assert built[0].read_bytes() == built[1].read_bytes()


def test_the_wheel_carries_client_server_policy_and_nothing_of_the_tests(tmp_path: Path) -> None:
    wheel = _wheel(tree.ROOT, tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    ours = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert ours == {
        "aisecops",
        "aisecops_client",
        "aisecops_grant",
        "aisecops_hook",
        "aisecops_mcp",
        "aisecops_server",
        "aisecops_verify",
    }
    share = "aisecops_server/share"
    needed = {f"{share}/rego/aisecops/decision/decision.rego", f"{share}/bundles/default/bundle.yaml"}
    assert needed <= set(names)


def test_no_code_of_ours_is_excused_from_having_docstrings() -> None:
    lint = tomllib.loads(tree.text("pyproject.toml"))["tool"]["ruff"]["lint"]
    assert lint["select"] == ["ALL"]
    assert {rule for rule in lint["ignore"] if re.match(r"D\d*$", rule)} == {"D104", "D107", "D203", "D213"}
    # Examples are read whole, and nobody calls them.
    ours = lint["per-file-ignores"].keys() - {"clients/examples/**"}
    assert {path.partition("/")[0] for path in ours} <= {"tests", "benchmarks", "docs"}


def test_continuous_integration_runs_what_people_run() -> None:
    script = tree.ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "${BASH_SOURCE[0]}")/.."', "make test"]
