"""The UI lets nobody do more than the API does: the same table, the same record of who was turned away."""

from __future__ import annotations

import json

import pytest
from aisecops_server.domain.callers.identity import Role

from tests.scenes.planes.ui_scene import Scene

READERS = {Role.AUDITOR, Role.SECURITY, Role.SECOPS, Role.PLATFORM}


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
def test_a_page_needs_the_role_of_the_call_behind_it(scene: Scene, role: Role) -> None:
    trace = scene.traces["answer-ticket"]
    wanted = 200 if role in READERS else 403
    for path in ("/traces", "/traces.json", f"/traces/{trace}", f"/traces/{trace}.json"):
        assert scene.get(path, role)[0] == wanted, path


def test_who_is_turned_away_from_a_page_is_told_which_role_it_takes(scene: Scene) -> None:
    status, _, body = scene.get("/traces.json", Role.TOOL)
    error = json.loads(body)["error"]
    assert (status, error["reason"]) == (403, "NOT_PERMITTED")
    assert "auditor" in error["metadata"]["needs"]


def test_a_token_that_is_over_reads_nothing(scene: Scene) -> None:
    stale = scene.token(Role.AUDITOR, seconds=1)
    parts = stale.split(".")
    forged = ".".join([parts[0], parts[1], parts[2][::-1]])
    assert scene.ask("GET", "/traces.json", headers={"Authorization": f"Bearer {forged}"})[0] == 401
    assert scene.ask("GET", "/traces.json", headers={"Authorization": "Bearer nonsense"})[0] == 401
