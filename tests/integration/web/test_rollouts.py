"""A rollout from the page: real Git, real engines, real forms; every step needs a role, a key and a reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.domain.callers.identity import Role

from tests.scenes.planes.ui_scene import Scene, ui_scene
from tests.scenes.policy.git_remotes import Remote

pytestmark = pytest.mark.timeout(300)
HOSTILE = "<img src=x onerror=alert(1)> \u202eyob"


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with ui_scene(populated=False) as served:
        yield served


@pytest.fixture(scope="module")
def candidate(scene: Scene) -> str:
    remote = Remote(Path(scene.settings.repository))
    remote.git("switch", "--quiet", "--create", "candidate", "main")
    made = remote.commit({"README.candidate": b"nothing that decides\n"}, "a candidate")
    remote.git("switch", "--quiet", "main")
    return made


class Person:
    """Somebody in a browser without scripts."""

    def __init__(self, scene: Scene, *roles: Role) -> None:
        self.scene, self.cookie = scene, scene.cookie(*roles)

    def page(self, path: str = "/rollouts") -> str:
        status, _, body = self.scene.ask("GET", path, headers={"Cookie": self.cookie})
        assert status == 200, body
        return body.decode()

    def send(self, step: str, **changed: str) -> tuple[int, str]:
        """Send the form as the page has it, with some fields otherwise."""
        page = self.page()
        form = {
            name: found[1]
            for name in ("key", "rollout", "stage")
            if (found := re.search(rf'name="{name}" value="([^"]*)"', page))
        }
        path = f"/rollouts/{step}"
        status, _, body = self.scene.ask("POST", path, headers={"Cookie": self.cookie}, form=form | changed)
        return status, body.decode()

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.scene.get("/rollouts.json", Role.AUDITOR)[2])["rollout"] or {})


def test_a_revision_goes_all_the_way_and_back_by_forms(scene: Scene, candidate: str) -> None:
    person, base = Person(scene, Role.PLATFORM), scene.plane.live.current().bundle.revision
    assert "Start a rollout" in person.page()
    assert candidate in person.page(f"/rollouts?revision={candidate}")
    assert person.send("start", revision=candidate, reason=HOSTILE)[0] == 303
    assert (person.state()["stage"], person.state()["started"]["reason"]) == ("ROLLOUT_STAGE_SHADOW", HOSTILE)
    assert person.send("canary", percent="5", reason="a few")[0] == 303
    assert person.state()["selector"]["percent"] == 5
    page = person.page()
    assert "decides for 5 percent of all agents" in page
    assert "Promote against what stands above" in page
    assert "<img src=x" not in page
    assert "U+202E" in page
    status, told = person.send("promote", reason="now")
    assert (status, "may not be promoted" in told) == (409, True)
    assert person.send("promote", reason="it is urgent", force="yes")[0] == 303
    assert scene.plane.live.current().bundle.revision == candidate
    assert person.send("rollback", reason="it was wrong")[0] == 303
    assert scene.plane.live.current().bundle.revision == base
    assert (person.state()["stage"], person.state()["moved"]["reason"]) == (
        "ROLLOUT_STAGE_ROLLED_BACK",
        "it was wrong",
    )
    assert "it was wrong" in person.page()


@pytest.fixture
def under_way(scene: Scene, candidate: str) -> Iterator[Person]:
    person = Person(scene, Role.SECURITY)
    assert person.send("start", revision=candidate, reason="watch it")[0] == 303
    yield person
    assert person.send("abort", reason="enough")[0] == 303


@pytest.mark.parametrize(
    ("step", "changed", "status"),
    [
        ("promote", {"reason": "  "}, 400),
        ("canary", {"reason": "why", "percent": "101"}, 400),
        ("canary", {"reason": "why", "percent": "-1"}, 400),
        ("canary", {"reason": "why", "percent": "٣"}, 400),
        ("canary", {"reason": "why"}, 400),
        ("start", {"reason": "why", "revision": "--upload-pack=x"}, 400),
        ("start", {"reason": "why", "revision": "main"}, 409),
        ("rollback", {"reason": "why", "rollout": "rol-another"}, 409),
        ("promote", {"reason": "why", "stage": "2", "force": "yes"}, 409),
        ("abort", {"reason": "why", "key": "00"}, 403),
    ],
)
def test_what_a_form_may_not_say_changes_nothing(
    under_way: Person, step: str, changed: dict[str, str], status: int
) -> None:
    before = under_way.state()["moved"]
    assert under_way.send(step, **changed)[0] == status
    assert under_way.state()["moved"] == before


@pytest.mark.parametrize("step", ["start", "canary", "promote", "rollback", "abort"])
def test_who_only_reads_is_offered_no_step_and_may_not_take_one(scene: Scene, under_way: Person, step: str) -> None:
    reader = Person(scene, Role.AUDITOR)
    page = reader.page()
    assert "Your roles do not include changing a rollout" in page
    assert "/rollouts/" not in page
    shown = under_way.state()
    form = {"reason": "why", "percent": "5", "revision": "main", "rollout": shown["rolloutId"], "stage": "1"}
    assert reader.send(step, **form)[0] == 403
    assert under_way.state()["moved"] == shown["moved"]
    assert scene.get("/rollouts.json", Role.AGENT)[0] == 403


def test_a_step_that_another_site_sends_is_refused(scene: Scene, under_way: Person) -> None:
    foreign = {"Cookie": under_way.cookie, "Origin": "https://elsewhere.example"}
    assert scene.ask("POST", "/rollouts/abort", headers=foreign, form={"reason": "x"})[0] == 403
