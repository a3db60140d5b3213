"""Evidence from the page: the package verifies, its making is in the log and on the page, and odd forms make none."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import aisecops_verify
import pytest
from aisecops_server.domain.callers.identity import Role

from tests.scenes.planes.ui_scene import Scene

pytestmark = pytest.mark.timeout(300)


def made(scene: Scene) -> list[dict[str, Any]]:
    status, _, body = scene.get("/evidence.json", Role.AUDITOR)
    assert status == 200, body
    return list(json.loads(body)["packages"])


def send(scene: Scene, *roles: Role, **form: str) -> tuple[int, dict[str, str], bytes]:
    headers = {"Cookie": scene.cookie(*roles)}
    page = scene.ask("GET", "/evidence", headers=headers)[2].decode()
    key = re.search(r'name="key" value="([^"]*)"', page)
    return scene.ask("POST", "/evidence/export", headers=headers, form={"key": key[1] if key else "", **form})


@pytest.mark.parametrize("asked", ["traces", "period"])
def test_a_package_of_traces_or_a_period_verifies_and_is_told_of(scene: Scene, asked: str) -> None:
    ids = [scene.traces["answer-ticket"], scene.traces["swapped-account"]]
    form = {"traces": "\n".join(ids)} if asked == "traces" else {"q": "from:2020-01-01"}
    status, headers, package = send(scene, Role.AUDITOR, **form)
    assert (status, headers["content-type"]) == (200, "application/zip")
    assert aisecops_verify.verify(package).checks
    newest = made(scene)[0]
    assert newest["sha256"] == hashlib.sha256(package).hexdigest()
    assert newest["traces"] == (2 if asked == "traces" else len(set(scene.traces.values())))
    page = scene.get("/evidence", Role.AUDITOR)[2].decode()
    assert newest["sha256"] in page
    assert "aisecops-verify evidence.zip --log-key" in page
    proof = f"/traces/{newest['trace_id']}/events/{newest['event_id']}?tab=integrity"
    assert proof in page
    assert scene.get(proof, Role.AUDITOR)[0] == 200


def test_a_package_names_what_its_query_left_out(scene: Scene) -> None:
    status, _, package = send(scene, Role.AUDITOR, q="from:2020-01-01 -outcome:allowed -tool:email/send")
    assert status == 200
    selection = json.loads(aisecops_verify.read_package(package)["manifest.json"])["selection"]
    assert selection["without"] == ["outcome:ALLOW", "tool:email/send"]
    assert made(scene)[0]["selection"] == selection
    page = scene.get("/evidence", Role.AUDITOR)[2].decode()
    assert "without outcome:ALLOW tool:email/send" in page


def test_a_package_names_the_beginnings_and_comparisons_that_chose_it(scene: Scene) -> None:
    status, _, package = send(scene, Role.AUDITOR, q="tool:email/* trust:<internal plans:>=1")
    assert status == 200
    selection = json.loads(aisecops_verify.read_package(package)["manifest.json"])["selection"]
    assert selection["query"] == ["tool:email/*", "trust:<internal", "plans:>=1"]
    assert made(scene)[0]["selection"] == selection


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({}, 400),
        ({"traces": "0" * 32, "q": "from:2020-01-01"}, 400),
        ({"traces": '../../etc/passwd";x='}, 404),
        ({"traces": "0" * 32}, 404),
        ({"traces": "0 " * 501}, 400),
        ({"q": "outcom:blocked"}, 400),
        ({"q": "agent:nobody"}, 404),
        ({"q": "from:2020-01-01", "key": "00"}, 403),
    ],
)
def test_an_odd_form_makes_nothing(scene: Scene, form: dict[str, str], status: int) -> None:
    before = made(scene)
    assert send(scene, Role.AUDITOR, **form)[0] == status
    assert made(scene) == before


def test_who_reads_no_log_neither_sees_nor_makes_one(scene: Scene) -> None:
    assert scene.get("/evidence", Role.APP)[0] == 403
    assert send(scene, Role.APP, q="from:2020-01-01")[0] == 403
