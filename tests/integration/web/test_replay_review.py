"""What reviewers say about a replay, on real parts: who may, what it takes, where it stands, and that it is text."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest
import yaml
from aisecops.v1 import review_service_pb2 as api
from aisecops_client import Client, NotFoundError
from aisecops_client.errors import AisecopsClientError
from aisecops_client.replays import Replays
from aisecops_client.reviews import Reviews
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.policy.accepted_flips import Accepted, AcceptedFlips, Gates
from aisecops_server.domain.policy.accepted_flips import judged as judged_by_gates
from aisecops_server.domain.policy.impact import flips_of
from aisecops_server.domain.replays.flip_verdict import JUDGED
from google.protobuf.json_format import MessageToDict

from tests.scenes.planes.ui_scene import PERSON, Scene

KEY = re.compile(rb'name="key" value="([0-9a-f]{128})"')
CHANGE = "approvals.tools.crm/issue_refund.amount_over=50"
REVIEWER = "rita@corp.example"
HOSTILE = "<script>alert(1)</script> | ` \u202egnp.exe\x1b[2J\r\n## approved"


@pytest.fixture(scope="module")
def replay(scene: Scene) -> str:
    return scene.replayed(CHANGE)


def groups(scene: Scene, replay: str) -> list[dict[str, Any]]:
    return json.loads(scene.get(f"/replays/{replay}.json")[2])["groups"]["groups"]


def judged(
    scene: Scene, replay: str, form: Mapping[str, str], *roles: Role, subject: str = REVIEWER
) -> tuple[int, dict[str, str], bytes]:
    """Send the form of the page, as somebody with these roles."""
    cookie = {"Cookie": scene.cookie(*(roles or (Role.SECOPS,)), subject=subject)}
    found = KEY.search(scene.ask("GET", f"/replays/{replay}", headers=cookie)[2])
    key = found[1].decode() if found else ""
    return scene.ask("POST", f"/replays/{replay}/judge", headers=cookie, form={"key": key, **form})


def events(scene: Scene) -> list[StoredEvent]:
    async def read() -> list[StoredEvent]:
        told = scene.plane.log.events(from_index=0, follow=False, trace_id="")
        return [stored async for stored in told if stored.event.type == JUDGED]

    return scene.run(read())


def test_a_verdict_is_an_event_and_stands_on_the_page_in_the_data_and_in_the_markdown(
    scene: Scene, replay: str
) -> None:
    first = groups(scene, replay)[0]
    form = {"judgement": "unexpected", "about": "group", "group": first["groupId"], "reason": "No ticket asks for it."}
    status, headers, _ = judged(scene, replay, form)
    assert (status, headers["location"]) == (303, f"/replays/{replay}?group={first['groupId']}")
    event = events(scene)[-1]
    details = event.event.details()
    assert (details["principal"], details["judgement"]) == (REVIEWER, "UNEXPECTED")
    assert details["reason"] == "No ticket asks for it."
    assert details["candidate"]["changes"] == [CHANGE]
    page = scene.get(headers["location"])[2].decode()
    assert "No ticket asks for it." in page
    assert REVIEWER in page
    assert f"event {event.index}" in page
    data = json.loads(scene.get(f"/replays/{replay}.json")[2])["review"]
    [verdict] = [one for one in data["verdicts"] if one["logIndex"] == str(event.index)]
    assert (verdict["judgedBy"], verdict["judgement"]) == (REVIEWER, "JUDGEMENT_UNEXPECTED")
    assert verdict["judgedAt"]
    told = scene.get(f"/replays/{replay}/report.md")[2].decode()
    assert f"**unexpected** by `{REVIEWER}` at {verdict['judgedAt']}: `No ticket asks for it.`" in told


def test_one_decision_of_a_group_can_be_judged_alone(scene: Scene, replay: str) -> None:
    first = groups(scene, replay)[0]
    decision = first["examples"][0]
    form = {"about": "decision", "group": first["groupId"], "decision": decision, "reason": "This one is fine."}
    status, headers, _ = judged(scene, replay, {**form, "judgement": "expected"})
    assert (status, headers["location"]) == (303, f"/replays/{replay}?group={first['groupId']}&change={decision}")
    details = events(scene)[-1].event.details()
    assert (details["decision_id"], details["group_id"]) == (decision, first["groupId"])
    assert "This one is fine." in scene.get(headers["location"])[2].decode()
    cookie = {"Cookie": scene.cookie(Role.SECOPS, subject=REVIEWER)}
    own = scene.ask("GET", headers["location"], headers=cookie)[2].decode()
    assert f"you have seen 1 of {first['count']} one by one" in own
    assert "one by one" not in scene.get(headers["location"])[2].decode()


def test_what_was_seen_is_counted_for_each_reviewer_and_recorded_once(scene: Scene, replay: str) -> None:
    found = groups(scene, replay)
    form = {"judgement": "seen", "about": "group", "group": found[-1]["groupId"]}
    before = len(events(scene))
    assert [judged(scene, replay, form, subject="sam@corp.example")[0] for _ in range(2)] == [303, 303]
    assert len(events(scene)) == before + 1
    cookie = {"Cookie": scene.cookie(Role.SECOPS, subject="sam@corp.example")}
    page = scene.ask("GET", f"/replays/{replay}", headers=cookie)[2].decode()
    assert f"you have seen 1 of {len(found)}" in page
    other = scene.get(f"/replays/{replay}")[2].decode()
    assert f"you have seen 0 of {len(found)}" in other
    assert "sam@corp.example" in other
    progress = json.loads(scene.get(f"/replays/{replay}.json")[2])["review"]["progress"]
    assert {one["reviewer"]: one["seen"] for one in progress}["sam@corp.example"] == "1"


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.SECURITY, Role.SECOPS}), ids=lambda role: role.value)
def test_who_is_no_reviewer_says_nothing_and_sees_no_form(scene: Scene, replay: str, role: Role) -> None:
    group = groups(scene, replay)[0]["groupId"]
    before = len(events(scene))
    form = {"judgement": "expected", "about": "group", "group": group, "reason": "I say so."}
    assert judged(scene, replay, form, role)[0] == 403
    token = scene.token(role, subject=PERSON)
    with Client.connect(scene.socket, token) as client, pytest.raises(AisecopsClientError) as refused:
        Reviews(client).judge(replay, api.JUDGEMENT_EXPECTED, group_id=group, reason="I say so.")
    assert refused.value.reason == "NOT_PERMITTED"
    assert b"/judge" not in scene.get(f"/replays/{replay}", role)[2]
    assert len(events(scene)) == before


def test_nothing_is_said_about_what_is_not_there_or_without_a_reason(scene: Scene, replay: str) -> None:
    group = groups(scene, replay)[0]["groupId"]
    good = {"judgement": "expected", "about": "group", "group": group, "reason": "Meant."}
    before = len(events(scene))
    answers = [
        judged(scene, replay, {**good, **bad})[0]
        for bad in (
            {"reason": ""},
            {"reason": " \n "},
            {"reason": "x" * 501},
            {"judgement": "approved"},
            {"judgement": ""},
            {"group": ""},
            {"group": "g" * 65},
            {"group": "grp-0000000000000000"},
            {"about": "decision", "decision": "dec-0"},
            {"key": "0" * 128},
        )
    ]
    assert answers == [400] * 7 + [404, 404, 403]
    with Client.connect(scene.socket, scene.token()) as client:
        with pytest.raises(NotFoundError):
            Reviews(client).judge("rpl-0", api.JUDGEMENT_SEEN, group_id=group)
        with pytest.raises(NotFoundError):
            Reviews(client).review("rpl-0")
        same = [one.decision_id for one in Replays(client).results(replay)]
        untouched = next(one for one in scene.decisions.values() if one not in same)
        with pytest.raises(NotFoundError):
            Reviews(client).judge(replay, api.JUDGEMENT_EXPECTED, decision_id=untouched, reason="It stays the same.")
    assert len(events(scene)) == before


def test_a_hostile_reason_is_text_wherever_it_is_shown(scene: Scene, replay: str) -> None:
    group = groups(scene, replay)[0]["groupId"]
    form = {"judgement": "unexpected", "about": "group", "group": group, "reason": HOSTILE}
    status, headers, _ = judged(scene, replay, form, subject="hal@corp.example")
    assert status == 303
    page = scene.get(headers["location"])[2].decode()
    told = scene.get(f"/replays/{replay}/report.md")[2].decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    for shown in (page, told):
        assert "\u202e" not in shown
        assert "\x1b" not in shown
    [line] = [line for line in told.splitlines() if "gnp.exe" in line]
    assert line.count("`") == 6
    assert line.endswith("## approved`")


def test_what_is_expected_passes_in_ci_and_is_accepted_by_the_gate(scene: Scene) -> None:
    replay = scene.replayed("approvals.tools.crm/issue_refund.amount_over=49")
    found = groups(scene, replay)
    before = ET.fromstring(scene.get(f"/replays/{replay}/report.junit.xml")[2].decode())
    assert before.attrib["failures"] == str(len(found)) != "0"
    assert yaml.safe_load(scene.get(f"/replays/{replay}/accepted-flips.yaml")[2]) == []
    for group in found:
        form = {"judgement": "expected", "about": "group", "group": group["groupId"], "reason": HOSTILE}
        assert judged(scene, replay, form)[0] == 303
    after = ET.fromstring(scene.get(f"/replays/{replay}/report.junit.xml")[2].decode())
    assert (after.attrib["tests"], after.attrib["failures"]) == (before.attrib["tests"], "0")
    entries = AcceptedFlips.model_validate(yaml.safe_load(scene.get(f"/replays/{replay}/accepted-flips.yaml")[2])).root
    assert {entry.owner for entry in entries} == {REVIEWER}
    with Client.connect(scene.socket, scene.token()) as client:
        told = [
            MessageToDict(one, always_print_fields_with_no_presence=True) for one in Replays(client).results(replay)
        ]
    flips = list(flips_of(told))
    today: date = datetime.now(UTC).date()
    gates = Gates(most_flips=0, severity="low")
    assert judged_by_gates(flips, gates, Accepted(()), severities={}, today=today)
    assert judged_by_gates(flips, gates, Accepted(entries), severities={}, today=today) == ()
