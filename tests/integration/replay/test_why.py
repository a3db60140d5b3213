"""Why a decision flips: found by evaluating on everything real, and every claim evaluated once more here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
from aisecops_server.adapters.git.shipped import shipped_policy
from aisecops_server.bootstrap.replay import Replaying
from aisecops_server.demo.change import TABLE
from aisecops_server.domain.decisions.decision import conclude
from aisecops_server.domain.errors import InvalidRequestError, NotFoundError, UnknownRevisionError
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.replays.comparison import recorded_conclusion
from aisecops_server.domain.replays.lever import Lever, LeverKind, altered
from aisecops_server.domain.replays.levers import Scene
from aisecops_server.domain.replays.replay import ReplayId
from aisecops_server.ports import PolicyEngine
from aisecops_server.usecases.replays.resolve_policy import WantedPolicy
from aisecops_server.usecases.replays.search_change import Sought, Wish

from tests.scenes.replays.replays import Recorded, copy_of, open_replaying, record, replayed, screen

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

RULE = "rego/aisecops/rules/provenance/destination_dictated/destination_dictated.rego"
LIMIT = "approvals.tools.crm/issue_refund.amount_over"
SUPPORT = "spiffe://corp.example/agent/support-assistant"
LECTURE = "Explain the phrase 'ignore previous instructions' to my students."


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    async def told() -> Recorded:
        recorded = await record(tmp_path_factory.mktemp("why"))
        await screen(recorded, LECTURE, agent=SUPPORT)
        return recorded

    recorded = asyncio.run(told())
    recorded.edit_limits()
    return recorded


@pytest.fixture
def history(made: Recorded, tmp_path: Path) -> Recorded:
    return copy_of(made, tmp_path / "copy")


async def why(made: Replaying, wanted: WantedPolicy, decision: str) -> dict[str, Any]:
    """Replay, and return why one decision is made differently."""
    done = await replayed(made, wanted)
    told: dict[str, Any] = await made.why(done.id, decision_id=decision)
    [change] = told["changes"]
    return dict(change)


async def scene_of(made: Replaying, decision_id: str) -> tuple[Scene, PolicyEngine]:
    """Return a recorded decision on its own policy, and the engine of that."""
    decision = await made.history.decision(decision_id)
    bundle = await made.policies.own_bundle(decision)
    engine = await made.engines.acquire(bundle, engine="")  # type: ignore[arg-type]
    return Scene(decision.content, bundle.tables, bundle.revision, recorded_conclusion(decision)), engine  # type: ignore[union-attr]


async def outcome(scene: Scene, engine: PolicyEngine, levers: Sequence[Lever]) -> str:
    """Evaluate a changed document anew, alone."""
    document = altered(scene.document, levers)
    verdict = await engine.evaluate(canonical_bytes(document), deadline_seconds=30)
    parts = document["parts"] if document.get("kind") == "screen" else document["plan"]["steps"]
    return conclude(
        verdict, step_ids=[part["id"] for part in parts], expected_revision=engine.bundle.revision
    ).outcome.value


async def sought(made: Replaying, decision_id: str, wish: Wish) -> tuple[Sought, Scene, PolicyEngine]:
    scene, engine = await scene_of(made, decision_id)
    return await made.why.seek.search(scene, engine, wish), scene, engine


async def test_an_amount_over_a_limit_names_the_row_the_fact_and_the_largest_amount_that_passes(
    history: Recorded,
) -> None:
    async with open_replaying(history) as made:
        change = await why(made, WantedPolicy(revision="main"), history.decision("refund-lost-parcel"))
    assert change["reproduced"]
    [rule] = change["rules"]
    assert (rule["rule"], rule["fires_now"], rule["step_id"]) == ("approval.amount_over_limit", True, "refund")
    assert rule["before"] == rule["after"]
    assert rule["after"]["file"].endswith("amount_over_limit.rego")
    # Two rows of one file changed. Only one of them is about this plan, and without it the decision stays.
    [cause] = change["causes"]
    assert (cause["change"]["subject"], cause["weight"]) == (LIMIT, "DECISIVE")
    assert [cause["change"][side]["text"] for side in ("before", "after")] == ["100", "50"]
    assert cause["change"]["after"]["line"] > 0
    assert change["causes_left_out"] == 1
    amount = {"rule": "approval.amount_over_limit", "pointer": "/plan/steps/1/arguments/amount", "value_json": "64"}
    assert {**amount, "decisive": True} in change["facts"]
    smallest = change["smallest"]
    assert (smallest["found"], smallest["outcome"]) == (True, "ALLOW")
    [part] = smallest["parts"]
    assert (part["kind"], part["edits"]) == (
        "ARGUMENT",
        [{"pointer": "/plan/steps/1/arguments/amount", "before_json": "64", "after_json": "50"}],
    )
    assert any("approved exactly this" in other for other in smallest["others"])


async def test_a_changed_rule_is_named_and_taking_back_a_rule_that_does_not_matter_changes_nothing(
    history: Recorded,
) -> None:
    rego = history.text(RULE)
    other = "rego/aisecops/rules/approval/amount_over_limit/amount_over_limit.rego"
    history.commit({TABLE: shipped_policy()[TABLE]}, "As it was")
    history.commit(
        {
            RULE: b"# Only words.\n" + rego.replace('class == "dictated"', 'class == "never"').encode(),
            other: history.text(other).replace("amount >= 0", "amount > 0").encode(),
        },
        "Two rules",
    )
    decision = history.decision("ticket-asks-for-customers")
    async with open_replaying(history) as made:
        change = await why(made, WantedPolicy(revision="main"), decision)
    assert (change["result"]["before"], change["result"]["after"]) == ("DENY", "ALLOW")
    weights = {cause["change"]["subject"]: cause["weight"] for cause in change["causes"]}
    assert weights == {
        "provenance.destination_dictated": "DECISIVE",
        "approval.amount_over_limit": "NOT_DECISIVE",
    }
    [rule] = change["rules"]
    assert not rule["fires_now"]
    # What a rule read that no longer fires is seen where it did fire.
    pointers = {fact["pointer"]: fact["decisive"] for fact in change["facts"]}
    assert pointers["/plan/steps/1/arguments/to"]
    assert change["smallest"]["outcome"] == "DENY"


async def test_reformatting_is_no_cause(history: Recorded) -> None:
    history.commit({RULE: b"# Why.\n\n" + history.text(RULE).encode()}, "Only words")
    async with open_replaying(history) as made:
        change = await why(made, WantedPolicy(revision="main"), history.decision("pay-over-limit"))
    assert [cause["change"]["subject"] for cause in change["causes"]] == [
        "approvals.tools.payments/create_transfer.amount_over"
    ]


@pytest.mark.parametrize(
    ("scenario", "kind"),
    [
        ("ticket-asks-for-customers", LeverKind.GROUNDING),
        ("release", LeverKind.APPROVAL),
        ("pay-over-limit", LeverKind.ARGUMENT),
        ("log-line-scales-to-zero", LeverKind.SOURCE),
        ("too-many-calls", LeverKind.HISTORY),
    ],
)
async def test_the_smallest_change_flips_and_is_what_people_could_bring_about(
    history: Recorded, scenario: str, kind: LeverKind
) -> None:
    async with open_replaying(history) as made:
        now = str(history.decided[scenario].details["outcome"])
        found, scene, engine = await sought(made, history.decision(scenario), Wish(now, "ALLOW"))
        assert [lever.kind for lever in found.levers] == [kind]
        assert await outcome(scene, engine, found.levers) == found.outcome != now
        for other in found.others:
            assert await outcome(scene, engine, [other]) != now


async def test_of_a_change_with_two_parts_none_can_be_left_out(history: Recorded) -> None:
    async with open_replaying(history) as made:
        found, scene, engine = await sought(made, history.decision("secret-in-a-url"), Wish("DENY", "ALLOW"))
        assert len(found.levers) == 2
        assert await outcome(scene, engine, found.levers) == "ALLOW"
        for at in range(2):
            assert await outcome(scene, engine, found.levers[:at] + found.levers[at + 1 :]) == "DENY"


async def test_a_number_is_as_close_to_its_own_as_it_may_be(history: Recorded) -> None:
    async with open_replaying(history) as made:
        found, scene, engine = await sought(made, history.decision("refund-lost-parcel"), Wish("ALLOW", "DENY"))
        numbers = [lever for lever in (*found.levers, *found.others) if lever.number is not None]
        assert numbers
        for lever in numbers:
            own = 0 if lever.kind is LeverKind.BUDGET else 64
            nearer = lever.with_number((lever.number or 0) + (1 if own > (lever.number or 0) else -1))
            assert await outcome(scene, engine, [lever]) != "ALLOW"
            assert await outcome(scene, engine, [nearer]) == "ALLOW"


async def test_a_missing_grant_is_offered_as_a_row_and_nothing_is_granted(history: Recorded) -> None:
    agents = history.text("data/agents.yaml").replace("    refund.issue: {granted_by: finance-controls}\n", "", 1)
    history.commit({TABLE: shipped_policy()[TABLE], "data/agents.yaml": agents.encode()}, "No refunds by agents")
    async with open_replaying(history) as made:
        change = await why(made, WantedPolicy(revision="main"), history.decision("refund-lost-parcel"))
        live = await made.policies(WantedPolicy(revision="main"))
    smallest = change["smallest"]
    assert (change["result"]["after"], smallest["outcome"]) == ("DENY", "ALLOW")
    [part] = smallest["parts"]
    assert part["kind"] == "GRANT"
    assert part["edits"][0]["pointer"] == f"agents.{SUPPORT}.capabilities.refund.issue"
    assert [cause["weight"] for cause in change["causes"]] == ["DECISIVE"]
    assert live.bundle is not None
    assert "refund.issue" not in json.dumps(live.bundle.tables["agents"][SUPPORT])  # type: ignore[call-overload,index]


async def test_what_nothing_changes_is_said_honestly(history: Recorded) -> None:
    async with open_replaying(history) as made:
        found, _, _ = await sought(made, history.decision("nobody-registered-it"), Wish("DENY", "ALLOW"))
    assert (found.levers, found.outcome) == ((), "")
    assert found.tries > 0


async def test_a_screening_decision_is_explained_as_one_of_a_plan_is(history: Recorded) -> None:
    table = history.text("data/screen.yaml")
    assert "quoted: review" in table
    history.commit({"data/screen.yaml": table.replace("quoted: review", "quoted: block").encode()}, "No lectures")
    async with open_replaying(history) as made:
        change = await why(made, WantedPolicy(revision="main"), history.screened)
    assert (change["result"]["before"], change["result"]["after"]) == ("REQUIRE_APPROVAL", "DENY")
    assert [cause["weight"] for cause in change["causes"]][:1] == ["DECISIVE"]
    assert any(fact["pointer"].startswith("/parts/0/detections/") for fact in change["facts"])
    assert change["smallest"]["found"]
    assert {part["kind"] for part in change["smallest"]["parts"]} <= {"DETECTION", "TEXT"}


async def test_a_changed_value_without_a_commit_and_a_working_copy_can_be_asked_about_later(history: Recorded) -> None:
    files = {
        str(path.relative_to(history.policy)): path.read_bytes()
        for path in history.policy.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }
    draft = {**files, TABLE: history.text(TABLE).replace("amount_over: 50\n", "amount_over: 20\n").encode()}
    asked = (WantedPolicy(changes=(f"{LIMIT}=50",)), WantedPolicy(files=draft))
    async with open_replaying(history) as made:
        ids = [(await replayed(made, wanted)).id for wanted in asked]
    # Another process, which resolved nothing.
    async with open_replaying(history) as made:
        for replay_id in ids:
            told: Mapping[str, Any] = await made.why(replay_id, decision_id=history.decision("refund-lost-parcel"))
            [change] = told["changes"]
            assert [cause["weight"] for cause in change["causes"]] == ["DECISIVE"]
            assert change["after_link"] == ""


async def test_a_trace_is_asked_about_as_a_whole_and_what_stays_is_only_counted(history: Recorded) -> None:
    refund, ticket = (history.decided[name].details for name in ("refund-lost-parcel", "answer-ticket"))
    async with open_replaying(history) as made:
        done = await replayed(made, WantedPolicy(revision="main"))
        flipped: Any = await made.why(done.id, trace_id=str(refund["trace_id"]))
        same: Any = await made.why(done.id, trace_id=str(ticket["trace_id"]))
        with pytest.raises(NotFoundError):
            await made.why(done.id, trace_id="0" * 32)
        with pytest.raises(NotFoundError):
            await made.why(done.id, decision_id="dec-nothing")
        with pytest.raises(NotFoundError):
            await made.why(ReplayId("rpl-nothing"), trace_id=str(refund["trace_id"]))
        with pytest.raises(InvalidRequestError):
            await made.why(done.id)
    assert (len(flipped["changes"]), flipped["same"]) == (1, 0)
    assert (same["changes"], same["same"]) == ([], 1)


async def test_places_are_linked_where_the_repository_has_a_page_on_the_web(history: Recorded) -> None:
    config = history.policy / ".git" / "config"
    config.write_text(
        config.read_text() + '[remote "origin"]\n\turl = https://bot:secret@forge.example/team/policy.git\n'
    )
    async with open_replaying(history) as made:
        change = await why(made, WantedPolicy(revision="main"), history.decision("refund-lost-parcel"))
    page = "https://forge.example/team/policy"
    after = change["after_revision"]
    assert change["after_link"] == f"{page}/commit/{after}"
    [cause] = change["causes"]
    line = cause["change"]["after"]["line"]
    assert cause["after_link"] == f"{page}/blob/{after}/{TABLE}#L{line}"
    assert "secret" not in json.dumps(change)


async def test_a_draft_that_is_gone_is_said_to_be(history: Recorded) -> None:
    async with open_replaying(history) as made:
        refund = await made.history.decision(history.decision("refund-lost-parcel"))
        tree = await made.policies.own_tree(refund)
        assert tree is not None
        draft = {**tree.files, TABLE: history.text(TABLE).encode()}
        done = await replayed(made, WantedPolicy(files=draft))
    held = apsw.Connection(str(history.settings.state_dir / "replay" / "replay.db"))
    held.execute("DELETE FROM draft")
    held.close()
    async with open_replaying(history) as made:
        with pytest.raises(UnknownRevisionError, match="working copy"):
            await made.why(done.id, decision_id=history.decision("refund-lost-parcel"))


def side_by_side(change: Mapping[str, Any], *, concerns: bool) -> dict[str, list[tuple[str, str, str, str, bool]]]:
    """Return the lines that changed, or that held on one side only: (text, mark) of both sides, by file."""
    found: dict[str, list[tuple[str, str, str, str, bool]]] = {}
    for file in change["sides"]["files"]:
        for part in file["parts"]:
            for line in part["lines"] if part["concerns"] == concerns else ():
                sides = [line.get(name, {"text": "", "mark": ""}) for name in ("before", "after")]
                told = (*(side[name] for side in sides for name in ("text", "mark")), line["concerns"])
                if line["changed"] or told[1] != told[3]:
                    found.setdefault(file["after_file"] or file["before_file"], []).append(told)
    return {path: [(a.strip(), b, c.strip(), d, e) for a, b, c, d, e in lines] for path, lines in found.items()}


OVER = "rego/aisecops/rules/approval/amount_over_limit/amount_over_limit.rego"


async def test_the_row_that_changed_and_the_lines_that_turned_with_it_stand_beside_each_other(
    history: Recorded,
) -> None:
    async with open_replaying(history) as made:
        change = await why(made, WantedPolicy(revision="main"), history.decision("refund-lost-parcel"))
    told = side_by_side(change, concerns=True)
    assert ("amount_over: 100", "", "amount_over: 50", "", True) in told[TABLE]
    # The rule's text is the same on both sides; what held of it is not.
    limit = "amount <= limit"
    assert (limit, "HELD", limit, "FAILED", False) in told[OVER]
    negation = "not within(amount, approval.amount_over)"
    assert (negation, "FAILED", negation, "HELD", False) in told[OVER]
    # The other row of the same table changed for another tool; it was taken back, and the decision is the same.
    assert ("amount_over: 1000", "", "amount_over: 5000", "", False) in told[TABLE]
    assert (change["sides"]["elsewhere"], change["sides"]["elsewhere_weight"]) == (1, "DID_NOT_MATTER")
    numbers = [line for file in change["sides"]["files"] for part in file["parts"] for line in part["lines"]]
    for line in numbers:
        for side, tree in (("before", shipped_policy()), ("after", {TABLE: history.text(TABLE).encode()})):
            if side in line and line[side]["text"].strip().startswith("amount_over"):
                assert tree[TABLE].decode().split("\n")[line[side]["number"] - 1] == line[side]["text"]


async def test_the_changed_clause_is_told_from_what_changed_elsewhere_in_every_kind_of_file(history: Recorded) -> None:
    rego = history.text(RULE)
    schema = "rego/schemas/input.json"
    history.commit(
        {
            RULE: b"# Only words.\n" + rego.replace('class == "dictated"', 'class == "never"').encode(),
            OVER: history.text(OVER).replace("amount >= 0", "amount > 0").encode(),
            schema: history.text(schema).replace("\n", "\n\n", 1).encode(),
            TABLE: shipped_policy()[TABLE],
        },
        "A rule, words, another rule and a schema",
    )
    async with open_replaying(history) as made:
        change = await why(made, WantedPolicy(revision="main"), history.decision("ticket-asks-for-customers"))
    told, elsewhere = (side_by_side(change, concerns=concerns) for concerns in (True, False))
    assert set(told) == {RULE}
    assert ('judgement.class == "dictated"', "HELD", 'judgement.class == "never"', "FAILED", True) in told[RULE]
    assert ("", "", "# Only words.", "", False) in elsewhere[RULE]
    assert [(was, now) for was, _, now, _, _ in elsewhere[OVER]] == [("amount >= 0", "amount > 0")]
    assert schema in elsewhere
    assert (change["sides"]["elsewhere"], change["sides"]["elsewhere_weight"]) == (3, "DID_NOT_MATTER")


async def test_what_changed_elsewhere_and_matters_is_not_said_to_be_nothing(history: Recorded) -> None:
    # Either change alone refuses the refund, so none is decisive: both are shown, and nothing is elsewhere.
    text = history.text(TABLE).replace("amount_over: 50\n", "amount_over: 20\n")
    history.commit(
        {TABLE: text.encode(), OVER: history.text(OVER).replace("amount <= limit", "amount < limit * 0").encode()}
    )
    async with open_replaying(history) as made:
        change = await why(made, WantedPolicy(revision="main"), history.decision("refund-lost-parcel"))
    assert {cause["weight"] for cause in change["causes"]} == {"NOT_DECISIVE"}
    told = side_by_side(change, concerns=True)
    assert any(line[4] and line[2] == "amount < limit * 0" for line in told[OVER])
    assert any(line[4] and line[2] == "amount_over: 20" for line in told[TABLE])


async def test_a_value_changed_without_a_commit_stands_beside_the_line_that_it_replaces(history: Recorded) -> None:
    other = "approvals.tools.payments/create_transfer.amount_over"
    async with open_replaying(history) as made:
        wanted = WantedPolicy(changes=(f"{LIMIT}=50", f"{other}=5000"))
        change = await why(made, wanted, history.decision("refund-lost-parcel"))
    [table] = [file for file in change["sides"]["files"] if file["by_value"]]
    changed = [line for part in table["parts"] for line in part["lines"] if line["changed"]]
    assert [(line["before"]["text"], line["after"]["text"], line["concerns"]) for line in changed] == [
        ("tools.crm/issue_refund.amount_over: 100", "tools.crm/issue_refund.amount_over: 50", True),
        ("tools.payments/create_transfer.amount_over: 1000", "tools.payments/create_transfer.amount_over: 5000", False),
    ]
    assert changed[0]["before"]["number"] > 0
    assert changed[0]["after"]["number"] == 0
    assert (change["sides"]["elsewhere"], change["sides"]["elsewhere_weight"]) == (1, "DID_NOT_MATTER")


async def test_what_was_found_is_remembered_and_a_large_change_is_bounded(history: Recorded) -> None:
    words = b"".join(b"# Line %d.\n" % number for number in range(3000))
    history.commit({OVER: history.text(OVER).encode() + words}, "Many words")
    async with open_replaying(history) as made:
        wanted = WantedPolicy(revision="main")
        change = await why(made, wanted, history.decision("refund-lost-parcel"))
        again = await why(made, wanted, history.decision("refund-lost-parcel"))
    assert change["sides"] is again["sides"]
    assert change["sides"]["elsewhere"] == 3001
    assert change["sides"]["left_out"] > 2000
    assert change["sides"]["elsewhere_weight"] == "DID_NOT_MATTER"
