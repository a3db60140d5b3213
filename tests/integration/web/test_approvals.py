"""The inbox of approvals: what was answered before stands beside what is asked."""

from __future__ import annotations

import html
import json
import re

from aisecops_server.domain.callers.identity import Role

from tests.scenes.approvals.requests import APPROVER, asked
from tests.scenes.planes.ui_scene import Scene

FINANCE = "spiffe://corp.example/agent/finance-assistant"
KEY = re.compile(r'name="key" value="([^"]*)"')
STATEMENT = re.compile(r'name="statement" value="([^"]*)"')


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


def form_of(text: str) -> dict[str, str]:
    """Return the fields of the form by which a request is answered."""
    form = text[text.index('<form class="vote"') :]
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form[: form.index("</form>")])
    return {name: html.unescape(value) for name, value in fields}


def send(scene: Scene, approval: str, cookie: str, form: dict[str, str]) -> tuple[int, str]:
    status, _, body = scene.ask("POST", f"/approvals/{approval}/vote", headers={"Cookie": cookie}, form=form)
    return status, body.decode()


def state(scene: Scene, approval: str) -> str:
    found = json.loads(scene.get(f"/approvals/{approval}.json")[2])["request"]["approval"]
    return str(found["state"]).removeprefix("APPROVAL_STATE_")


def row(text: str, approval: str) -> str:
    """Return what the page says of one of the requests that were answered."""
    [found] = [part for part in text.split("<tr>") if f"/approvals/{approval}" in part]
    return " ".join(re.sub(r"<[^>]*>", " ", found).split())


def test_identical_requests_are_one_group_and_each_is_answered_by_a_vote_of_its_own(scene: Scene) -> None:
    first, second, third = (scene.run(asked(scene, version="5.1", step=step)) for step in ("a", "b", "c"))
    cookie = scene.cookie(Role.SECOPS, subject=APPROVER)
    listed = page(scene, "/approvals", cookie)
    assert "×3 identical" in listed
    groups = json.loads(scene.get("/approvals.json")[2])["groups"]
    assert [first, second, third] in [sorted(group) for group in groups]
    shown = page(scene, f"/approvals/{first}", cookie)
    form = form_of(shown) | {"note": "for the <i>third</i> time", "together": "approve"}
    assert [name for name in form if name.startswith("seen-")] == [f"seen-{second}", f"seen-{third}"]
    # Between the page and the answer one more comes in, and one is answered by somebody else.
    later = scene.run(asked(scene, version="5.1", step="d"))
    elsewhere = scene.cookie(Role.SECOPS, subject="gita.rao@corp.example")
    other = form_of(page(scene, f"/approvals/{second}", elsewhere)) | {"choice": "deny"}
    assert send(scene, second, elsewhere, other)[0] == 303
    status, answer = send(scene, first, cookie, form)
    assert (status, "2 of 3 answers count" in answer) == (200, True)
    assert "for the &lt;i&gt;third&lt;/i&gt; time" in answer
    assert [state(scene, name) for name in (first, third, later)] == ["GRANTED", "GRANTED", "REQUESTED"]
    assert "counts" in row(answer, third)
    assert "does not count: the approval cannot be used: it was rejected" in row(answer, second)
    assert "gita.rao@corp.example" in row(answer, second)
    assert later not in answer
    # Sent once more, nothing counts twice.
    assert "0 of 3 answers count" in send(scene, first, cookie, form)[1]


def test_a_forged_form_answers_nothing_of_another_agent_nor_of_another_call(scene: Scene) -> None:
    same = [scene.run(asked(scene, version="6.1", step=step)) for step in ("a", "b")]
    other_call = scene.run(asked(scene, version="6.2"))
    waiting = json.loads(scene.get("/approvals.json")[2])["page"]["approvals"]
    other_agent = next(one["approvalId"] for one in waiting if one["agentId"] == FINANCE)
    cookie = scene.cookie(Role.SECOPS, subject=APPROVER)
    for foreign in (other_call, other_agent):
        form = form_of(page(scene, f"/approvals/{same[0]}", cookie)) | {"together": "approve", "note": ""}
        statement = field(STATEMENT, page(scene, f"/approvals/{foreign}", cookie))
        status, answer = send(scene, same[0], cookie, form | {f"seen-{foreign}": statement})
        assert (status, "not identical, so nothing was answered" in html.unescape(answer)) == (400, True)
        assert {state(scene, name) for name in (*same, foreign)} == {"REQUESTED"}
    # Nor is a form taken that another page sent, or that names another statement.
    form = form_of(page(scene, f"/approvals/{same[0]}", cookie)) | {"together": "approve", "note": ""}
    assert send(scene, same[0], cookie, form | {"key": "00"})[0] == 403
    assert send(scene, same[0], cookie, form | {"together": "both"})[0] == 400
    wrong = form | {f"seen-{same[1]}": form["statement"]}
    assert "1 of 2 answers count" in send(scene, same[0], cookie, wrong)[1]
    assert [state(scene, name) for name in same] == ["GRANTED", "REQUESTED"]


def test_who_may_not_answer_is_not_offered_to_answer_together(scene: Scene) -> None:
    same = [scene.run(asked(scene, version="7.1", step=step)) for step in ("a", "b")]
    shown = page(scene, f"/approvals/{same[0]}", scene.cookie(Role.AUDITOR))
    assert "seen-" not in shown
    assert "Approve all" not in shown
