from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run
from aisecops_server.demo.stage import MARK, clear
from aisecops_server.domain.errors import InvalidRequestError


@pytest.fixture
def root() -> Iterator[Path]:
    """The folder of an earlier demo; short, so that its socket's path fits."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        (Path(folder) / MARK).write_text("", encoding="utf-8")
        yield Path(folder)


@contextlib.contextmanager
def served(state: Path) -> Iterator[None]:
    """Listen where a control plane on ``state`` would."""
    (state / "run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(state / "run" / "aisecops.sock"))
        listener.listen()
        yield


def test_the_state_of_an_earlier_demo_is_not_pulled_away_from_a_control_plane_that_serves_it(root: Path) -> None:
    with served(root / "state"), pytest.raises(InvalidRequestError, match="serves the earlier demo") as refused:
        clear(root, is_kept=True)
    assert "--keep" in refused.value.hint
    assert (root / MARK).exists()


def test_an_earlier_demo_whose_control_plane_has_ended_is_removed(root: Path) -> None:
    with served(root / "state"):
        assert (root / "state/run/aisecops.sock").is_socket()
    assert clear(root, is_kept=True).root == root
    assert list(root.iterdir()) == []


def test_evaluating_beside_a_control_plane_says_how_to_go_on(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = root / "state"
    with served(state):
        assert run(["trace", "evaluate", "--state-dir", str(state)]) == ExitCode.FAILURE
    told = capsys.readouterr().err
    assert f"a control plane serves {state}" in told
    assert "--state-dir ./trial" in told
