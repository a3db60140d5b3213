"""The commands that announce: what they print and refuse, and that they touch nothing but the channel's branch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run

from tests.scenes.policy.channels import Site
from tests.scenes.policy.git_remotes import Remote

PAGE = (Path(__file__).parents[3] / "docs/reference/cli.md").read_text("utf-8")
SHAPES = {
    name: tuple(re.findall(r"`(\w+)`", fields))
    for name, fields in re.findall(r"^\| `(policy [a-z-]+)` \| (.+) \|$", PAGE, re.MULTILINE)
}
pytestmark = pytest.mark.timeout(120)


class Desk:
    """Who announces, at a terminal."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.site = Site.make(root)
        self.capsys = capsys
        self.made = self.printed("policy channel-key", str(root / "a.pem"), "--make")
        (root / "a.pub.pem").write_text(str(self.made["publicKey"]), encoding="utf-8")

    def run(self, command: str, *rest: str, code: ExitCode = ExitCode.OK) -> str:
        found = run([*command.split(), *rest])
        said = self.capsys.readouterr()
        assert found == code, said.out + said.err
        return said.out or said.err

    def printed(self, command: str, *rest: str, code: ExitCode = ExitCode.OK) -> Mapping[str, object]:
        found = json.loads(self.run(command, *rest, "-o", "json", code=code))
        assert tuple(found) == SHAPES[command]
        return dict(found)

    def announce(self, *rest: str, key: str = "a", code: ExitCode = ExitCode.OK) -> Mapping[str, object]:
        line = ("policy announce", "prod", *rest, *self.place, "--key", str(self.site.root / f"{key}.pem"))
        return self.printed(*line, code=code) if code is ExitCode.OK else {"said": self.run(*line, code=code)}

    @property
    def place(self) -> tuple[str, str]:
        return "--directory", str(self.site.clone.path)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_what_is_announced_is_printed_and_read_again_by_whoever_has_the_public_key(desk: Desk) -> None:
    first = desk.announce("--hours", "2")
    known = ("policy announced", "prod", *desk.place, "--known-key", str(desk.site.root / "a.pub.pem"))
    assert desk.printed(*known) == first
    assert (first["counter"], first["keyId"]) == (1, desk.made["keyId"])
    second = desk.site.commit("two")
    assert (desk.announce()["counter"], desk.announce("HEAD~1")["commit"]) == (2, first["commit"])
    again = desk.announce("--again")
    assert (again["counter"], again["commit"]) == (4, first["commit"])
    assert desk.announce()["commit"] == second
    git = desk.site.clone.work.git
    # Every word is on the branch, one on the other; and who announced finds the working copy as it was.
    git("fetch", "--quiet", "origin", "channels/prod")
    assert git("log", "--format=%s", "FETCH_HEAD").splitlines()[0] == f"prod 5: {second[:12]}"
    assert len(git("log", "--format=%s", "FETCH_HEAD").splitlines()) == 5
    assert (git("status", "--porcelain"), git("branch", "--show-current"), git("branch")) == ("", "main", "* main")


def test_a_checkout_without_a_remote_announces_in_itself(desk: Desk) -> None:
    git = desk.site.clone.work.git
    git("remote", "remove", "origin")
    assert [desk.announce()["counter"] for _ in range(2)] == [1, 2]
    assert git("show", "channels/prod:announcement.json").startswith("{")
    assert git("status", "--porcelain") == ""


def test_a_number_that_nobody_known_signed_is_not_counted_on_from(desk: Desk) -> None:
    desk.printed("policy channel-key", str(desk.site.root / "eve.pem"), "--make")
    desk.announce("--counter", str((1 << 53) - 1), key="eve")
    assert "is not signed by a key" in str(desk.announce(code=ExitCode.FAILURE)["said"])
    assert desk.announce("--counter", "8")["counter"] == 8
    assert "8 was announced already" in str(desk.announce("--counter", "8", code=ExitCode.USAGE)["said"])


def test_a_key_that_others_can_read_announces_nothing(desk: Desk) -> None:
    (desk.site.root / "a.pem").chmod(0o644)
    assert "can be read by others" in desk.run(
        *("policy announce", "prod", *desk.place, "--key", str(desk.site.root / "a.pem")), code=ExitCode.UNVERIFIED
    )


def test_what_ended_is_shown_and_told_by_the_exit_code(desk: Desk) -> None:
    desk.site.clock.moved_seconds = -7200
    desk.site.announce(hours=1)
    known = ("policy announced", "prod", *desk.place, "--known-key", str(desk.site.root / "channel.pub.pem"))
    assert desk.printed(*known, code=ExitCode.DENIED)["counter"] == 1


def test_the_name_of_a_channel_is_no_option_and_no_path(desk: Desk) -> None:
    for name in ("--force", "../main", "a b", "A"):
        line = ("policy announce", *desk.place, "--key", str(desk.site.root / "a.pem"), "--", name)
        assert "cannot announce" in desk.run(*line, code=ExitCode.USAGE)
    assert Remote(desk.site.clone.remote).git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
