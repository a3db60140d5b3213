"""The inbox of approvals: what was answered before stands beside what is asked."""

from __future__ import annotations

import html
import json
import re

from aisecops_client.plan import PlanBuilder
from aisecops_server.domain.identity import Role

from tests.ui_scene import Scene

RELEASER = "spiffe://corp.example/agent/operations-assistant"
APPROVER, SECOND = "finn.olsen@corp.example", "noa.berg@corp.example"
KEY = re.compile(r'name="key" value="([^"]*)"')
STATEMENT = re.compile(r'name="statement" value="([^"]*)"')


async def asked(scene: Scene, *, version: str, step: str = "deploy", agent: str = RELEASER) -> str:
    """Return the id of a request to release a version."""
    async with scene.client(Role.AGENT, subject=agent) as client:
        plan = PlanBuilder(f"Release {version}", environment="production", session_id=f"{step}-{version}")
        said = plan.source("user_prompt", f"Deploy shop {version} to production.", id="said")
        plan.step("deploy/release", {"service": "shop", "version": version}, id=step, influenced_by=[said])
        return (await client.decide(plan.build())).approval_id


def page(scene: Scene, path: str, cookie: str) -> str:
    status, _, body = scene.ask("GET", path, headers={"Cookie": cookie})
    assert status == 200, (path, body)
    return body.decode()


def field(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    assert found, text
    return html.unescape(found[1])


def test_what_was_answered_before_stands_on_the_page_and_in_its_twin(scene: Scene) -> None:
    before, now = (scene.run(asked(scene, version=version)) for version in ("4.1", "4.2"))
    cookie = scene.cookie(Role.SECOPS, subject=APPROVER)
    shown = page(scene, f"/approvals/{before}", cookie)
    form = {"key": field(KEY, shown), "statement": field(STATEMENT, shown), "choice": "deny", "note": "<b>frozen</b>"}
    assert scene.ask("POST", f"/approvals/{before}/vote", headers={"Cookie": cookie}, form=form)[0] == 303
    beside = page(scene, f"/approvals/{now}", cookie)
    assert f'<a href="/approvals/{before}">Release 4.1</a>' in beside
    assert "&lt;b&gt;frozen&lt;/b&gt;" in beside
    [past, *_] = json.loads(scene.get(f"/approvals/{now}.json")[2])["request"]["pastAnswers"]
    assert (past["approvalId"], past["state"], past["vote"]["approver"], past["vote"]["note"]) == (
        before,
        "APPROVAL_STATE_REJECTED",
        APPROVER,
        "<b>frozen</b>",
    )
