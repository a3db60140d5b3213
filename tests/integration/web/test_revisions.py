"""What differs between two revisions, on a page of its own: the meaning first, the text below, both ways round."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.adapters.git.create import commit_files
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import BundleRejectedError

from tests.scenes.planes.ui_scene import Scene, ui_scene

LIMITS = "data/approvals.yaml"
RULE = "rego/aisecops/rules/identity/delegation_too_deep/delegation_too_deep.rego"


@dataclass(frozen=True)
class History:
    """A scene whose repository has commits, by what each did."""

    scene: Scene
    commits: dict[str, str]

    def page(self, before: str, after: str) -> str:
        return f"/revisions/{self.commits.get(before, before)}..{self.commits.get(after, after)}"

    def read(self, before: str, after: str, *roles: Role) -> tuple[int, str]:
        status, _, body = self.scene.get(self.page(before, after), *(roles or (Role.AUDITOR,)))
        return status, body.decode()

    def data(self, before: str, after: str) -> dict[str, Any]:
        status, _, body = self.scene.get(f"{self.page(before, after)}.json", Role.AUDITOR)
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)["difference"]
        return found


def versions(root: Path) -> dict[str, dict[str, str]]:
    """Return the files of each commit, in their order."""
    limits, rule = (root / LIMITS).read_text("utf-8"), (root / RULE).read_text("utf-8")
    raised = limits.replace("amount_over: 1000\n", "amount_over: 5000\n")
    stricter = rule.replace("> ", ">= ", 1)
    assert (raised != limits, stricter != rule) == (True, True)
    return {
        "first": {"README.md": "As it was."},
        "looser": {LIMITS: raised},
        "spelled": {LIMITS: f"# <b>Another</b> comment.\n{raised}"},
        "stricter": {RULE: stricter},
        "broken": {RULE: "package broken\n\nx := {\n"},
        "long": {LIMITS: raised + "# And so on.\n" * 2_001},
    }


@pytest.fixture(scope="module")
def history() -> Iterator[History]:
    with ui_scene(populated=False) as scene:
        assert scene.plane is not None
        root = Path(scene.settings.repository)
        commits: dict[str, str] = {}
        for at, (name, texts) in enumerate(versions(root).items()):
            files = {path: text.encode() for path, text in texts.items()}
            commits[name] = commit_files(root, files, message=name, at_seconds=1_790_000_000 + at)
        with pytest.raises(BundleRejectedError):
            scene.run(scene.plane.policy.sync())
        yield History(scene, commits)


def test_a_row_of_a_table_is_told_with_its_places_and_its_text(history: History) -> None:
    found = history.data("first", "looser")
    [change] = found["changes"]
    assert (change["kind"], change["before"]["file"], change["after"]["file"]) == ("ROW_CHANGED", LIMITS, LIMITS)
    [file] = found["files"]
    assert file["path"] == LIMITS
    assert "-    amount_over: 1000" in file["diff"]
    status, page = history.read("first", "looser")
    assert (status, "1 change in meaning" in page, "1 file with another text" in page) == (200, True, True)
    line = change["after"]["line"]
    assert f'href="/revisions/{history.commits["looser"]}/files/{LIMITS}#L{line}"' in page


def test_another_spelling_is_no_change(history: History) -> None:
    found = history.data("looser", "spelled")
    assert (found.get("changes", []), [file["path"] for file in found["files"]]) == ([], [LIMITS])
    _, page = history.read("looser", "spelled")
    assert "Both decide alike on every plan." in page
    assert "no other meaning" in page
    assert "&lt;b&gt;Another&lt;/b&gt;" in page


def test_a_rule_is_told_both_ways_round(history: History) -> None:
    there, back = history.data("spelled", "stricter"), history.data("stricter", "spelled")
    [one], [other] = there["changes"], back["changes"]
    assert (one["kind"], one["subject"]) == ("RULE_CHANGED", "identity.delegation_too_deep")
    assert (one["before"], one["after"]) == (other["after"], other["before"])


def test_over_several_commits_all_of_it_is_told(history: History) -> None:
    kinds = {change["kind"] for change in history.data("first", "stricter")["changes"]}
    assert kinds == {"ROW_CHANGED", "RULE_CHANGED"}
    assert history.data("first", "first").get("changes", []) == []


def test_what_cannot_be_read_as_policy_is_told_with_its_text(history: History) -> None:
    found = history.data("stricter", "broken")
    assert found["problem"]
    assert [file["path"] for file in found["files"]] == [RULE]
    status, page = history.read("stricter", "broken")
    assert (status, "What it means cannot be told" in page) == (200, True)


def test_a_file_that_is_too_long_to_be_compared_is_named(history: History) -> None:
    [file] = history.data("broken", "long")["files"]
    assert (file["path"], file.get("diff", "")) == (LIMITS, "")
    assert "It is too long to be compared here" in history.read("broken", "long")[1]


@pytest.mark.parametrize("name", ["0" * 40, "nothing", "-x", "a b"])
def test_what_is_no_revision_is_said(history: History, name: str) -> None:
    assert history.read("first", name.replace(" ", "%20"))[0] in (400, 404)


def test_lists_lead_there_and_agents_do_not(history: History) -> None:
    _, _, listed = history.scene.get("/revisions", Role.AUDITOR)
    assert f'href="{history.page("first", "looser")}"' in listed.decode()
    assert history.read("first", "looser", Role.AGENT)[0] == 403


def test_a_flip_leads_to_all_that_differs_between_its_policies() -> None:
    with ui_scene() as scene:
        assert scene.plane is not None
        root, before = Path(scene.settings.repository), scene.plane.live.current().bundle.revision
        lowered = (root / LIMITS).read_text("utf-8").replace("amount_over: 100\n", "amount_over: 50\n")
        after = commit_files(root, {LIMITS: lowered.encode()}, message="lower", at_seconds=1_790_000_000)
        replay = scene.replayed(revision=after)
        page = scene.get(f"/replays/{replay}", Role.AUDITOR)[2].decode()
        to = f"/revisions/{before}..{after}"
        assert f'<a href="{to}">All that differs between them</a>' in page
        assert scene.get(to, Role.AUDITOR)[0] == 200
        drafted = scene.replayed("approvals.tools.crm/issue_refund.amount_over=50")
        assert "All that differs" not in scene.get(f"/replays/{drafted}", Role.AUDITOR)[2].decode()


def test_the_oldest_of_a_page_leads_to_what_it_changed_too() -> None:
    with ui_scene(populated=False) as scene:
        assert scene.plane is not None
        root = Path(scene.settings.repository)
        lowered = (root / LIMITS).read_text("utf-8").replace("amount_over: 100\n", "amount_over: 50\n")
        made = [
            commit_files(root, {"README.md": f"{at}".encode(), LIMITS: lowered.encode()}, message="", at_seconds=at)
            for at in range(1_790_000_000, 1_790_000_050)
        ]
        scene.run(scene.plane.policy.sync())
        to = f"/revisions/{made[0]}~1..{made[0]}"
        assert f'<a href="{to}">changes</a>' in scene.get("/revisions", Role.AUDITOR)[2].decode()
        [change] = json.loads(scene.get(f"{to}.json", Role.AUDITOR)[2])["difference"]["changes"]
        assert change["kind"] == "ROW_CHANGED"
