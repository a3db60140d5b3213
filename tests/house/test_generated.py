"""What is generated is current: the API from its protos, and the protos pass their own lint without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import tree

BIN = Path(sys.executable).parent


def _buf(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    # An unusable proxy proves that nothing is fetched.
    environment = {"PATH": os.defpath, "HOME": str(cache), "HTTPS_PROXY": "http://127.0.0.1:9"}
    command = [str(BIN / "buf"), *arguments]
    return subprocess.run(command, cwd=tree.ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_generated_code_is_what_the_protos_say(tmp_path: Path) -> None:
    protos = [path.removeprefix("proto/") for path in tree.under("proto/aisecops/", suffix=".proto")]
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python")]
    stubs = [f"--{kind}_out=quiet:{tmp_path}" for kind in ("mypy", "mypy_grpc")]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-Iproto", *outputs, *stubs, *(f"proto/{name}" for name in protos)],
        cwd=tree.ROOT,
        env={
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": str(Path(sys.prefix) / "protoc"),
        },
        check=True,
    )
    made = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.py*")}
    committed = {
        path.removeprefix(tree.GENERATED): (tree.ROOT / path).read_bytes()
        for path in tree.files()
        if path.startswith(tree.GENERATED) and not path.endswith(("__init__.py", "py.typed"))
    }
    assert made.keys() == committed.keys()
    stale = [name for name in made if made[name] != committed[name]]
    assert stale == [], "run 'make proto'"


@pytest.mark.parametrize("arguments", [("lint", "proto"), ("format", "--diff", "--exit-code", "proto")])
def test_the_protos_pass_lint_and_format(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = _buf(*arguments, cache=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
