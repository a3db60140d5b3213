"""Where settings come from, what is refused, and what follows from them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.settings import Settings, load


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("branch: from-file\npoll_seconds: 3\nmax_engines: 5\n")
    environment = {"AISECOPS_CONFIG": str(file), "AISECOPS_BRANCH": "from-environment", "AISECOPS_POLL_SECONDS": "4"}
    loaded = load({"branch": "from-option", "repository": None}, environment)
    settings = loaded.settings
    assert (settings.branch, settings.poll_seconds, settings.max_engines) == ("from-option", 4.0, 5)
    assert {name: loaded.origins[name] for name in ("branch", "poll_seconds", "max_engines", "repository")} == {
        "branch": "option",
        "poll_seconds": "environment",
        "max_engines": "file",
        "repository": "default",
    }


@pytest.mark.parametrize(
    ("environment", "field"),
    [
        ({"AISECOPS_POLL_SECONDS": "often"}, "poll_seconds"),
        ({"AISECOPS_MAX_ENGINES": "1"}, "max_engines"),
        ({"AISECOPS_CONFIG": "/does/not/exist"}, "AISECOPS_CONFIG"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(environment: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        load({}, environment)
    assert refused.value.metadata()["field"] == field


def test_an_unknown_setting_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("fail_open: true\n")
    with pytest.raises(InvalidRequestError) as refused:
        load({}, {"AISECOPS_CONFIG": str(file)})
    assert refused.value.metadata()["field"] == "fail_open"


def test_a_state_directory_too_deep_for_a_socket_gets_one_of_its_own_elsewhere() -> None:
    deep, other = (Settings(state_dir=Path("/srv") / name / ("x" * 90)) for name in ("a", "b"))
    assert len(os.fsencode(deep.socket)) <= 100
    assert deep.socket.parent != other.socket.parent
    shallow = Settings(state_dir=Path("/srv/state"))
    assert shallow.socket == Path("/srv/state/run/aisecops.sock")
