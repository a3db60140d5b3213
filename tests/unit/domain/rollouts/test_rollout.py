"""Who is chosen, what is counted, and what ends a rollout."""

from __future__ import annotations

import json

import pytest
from aisecops_server.domain.bundles.bundle import Activated, BundleDigest, CommitId
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.rollouts.rollout import Moved, Rollout, RolloutStage, Selector, Terms, read_rollout
from aisecops_server.domain.rollouts.rollout_tally import Tally, read_tally
from hypothesis import given
from hypothesis import strategies as st

TABLES = {
    "agents": {
        "one": {"owner": "payments", "environments": {"staging": True}},
        "both": {"owner": "support", "environments": {"production": True, "staging": True}},
        "none": {"owner": "", "environments": {}},
    }
}
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


def event(**changed: object) -> dict[str, object]:
    told = {"decided_by": "base", "direction": "", "same": True, "risky": False, "rules": [], "agent": "one"}
    return {**told, "slow": False, "error": "", **changed}


@given(NAMES, NAMES, st.integers(1, 100), st.integers(1, 100))
def test_who_is_in_a_share_stays_in_a_larger_one_whatever_the_tables_say(
    agent: str, salt: str, one: int, other: int
) -> None:
    small, large = sorted((one, other))
    chosen = Selector(percent=small).chooses(agent, {}, salt=salt)
    assert chosen is Selector(percent=small).chooses(agent, TABLES, salt=salt)
    assert not chosen or Selector(percent=large).chooses(agent, {}, salt=salt)


def test_a_share_is_about_a_share_and_no_id_is_chosen_for_good() -> None:
    agents = [f"spiffe://corp.example/agent/{number}" for number in range(2000)]
    rollouts = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]
    chosen = {salt: {each for each in agents if Selector(percent=20).chooses(each, {}, salt=salt)} for salt in rollouts}
    assert all(300 < len(found) < 500 for found in chosen.values())
    # An id that was found to be outside is inside of another rollout: dodging one says nothing of the next.
    assert set.intersection(*chosen.values()) == set()


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        (Selector(agents=("both",)), {"both"}),
        (Selector(teams=("payments",)), {"one"}),
        (Selector(environments=("staging",)), {"one"}),
        (Selector(environments=("staging", "production")), {"one", "both"}),
        (Selector(percent=100), {"one", "both", "none", "stranger"}),
    ],
)
def test_agents_teams_and_environments_choose_by_the_tables_of_what_is_live(selector: Selector, chosen: set) -> None:
    known = ("one", "both", "none", "stranger")
    assert {each for each in known if selector.chooses(each, TABLES, salt="s")} == chosen


@pytest.mark.parametrize("selector", [Selector(), Selector(percent=-1), Selector(percent=101), Selector(agents=("",))])
def test_a_selector_that_chooses_nobody_or_nonsense_is_refused(selector: Selector) -> None:
    with pytest.raises(InvalidRequestError):
        selector.require_usable()


LISTS = st.lists(st.sampled_from(["a", "b", "a, b", 'a", team "b', "team b", '"', "\\", "5 %"]), max_size=3).map(tuple)
SELECTORS = st.builds(Selector, percent=st.sampled_from([0, 5]), agents=LISTS, teams=LISTS, environments=LISTS)


def chosen_by(selector: Selector) -> tuple[object, ...]:
    return selector.percent, *map(frozenset, (selector.agents, selector.teams, selector.environments))


@given(SELECTORS, SELECTORS)
def test_two_people_who_say_the_same_line_of_a_choice_mean_the_same_agents(one: Selector, other: Selector) -> None:
    assert (one.told() == other.told()) is (chosen_by(one) == chosen_by(other))


def test_a_team_is_not_an_environment_of_the_same_name() -> None:
    lines = {each.told() for each in (Selector(agents=("x",)), Selector(teams=("x",)), Selector(environments=("x",)))}
    assert lines == {'agent "x"', 'team "x"', 'environment "x"'}


def test_faults_count_from_enough_evaluations_on() -> None:
    terms, tally = Terms(least=10, most_error_percent=10, most_slow_percent=20), Tally()
    for _ in range(9):
        tally.decided(slow=False, failed=True)
    assert tally.fault(terms) == ""
    tally.decided(slow=False, failed=False)
    assert tally.fault(terms) == "9 of 10 evaluations of the candidate failed"
    slow = Tally()
    for number in range(10):
        slow.count(event(slow=number < 3), decision_id="d", trace_id="t")
    assert slow.fault(terms) == "3 of 10 evaluations of the candidate took longer than 250 ms"


def test_a_base_that_does_not_answer_is_no_fault_of_the_candidate() -> None:
    tally = Tally()
    for _ in range(100):
        tally.count(event(decided_by="candidate", error="ENGINE_UNAVAILABLE"), decision_id="d", trace_id="t")
    assert (tally.fault(Terms()), tally.errors, tally.dropped) == ("", 0, 100)


def test_what_is_stored_is_read_back_the_same() -> None:
    tally = Tally(counted_to=17)
    tally.count(event(same=False), decision_id="d1", trace_id="t1")
    tally.count(
        event(direction="looser", risky=True, rules=["a.b", "c.d"], same=False), decision_id="d2", trace_id="t2"
    )
    moved = Moved("ada", "because", 1_700_000_000_123_456_789, forced=True)
    rollout = Rollout(
        "rol-1",
        Activated(CommitId("1" * 40), BundleDigest("a")),
        Activated(CommitId("2" * 40), BundleDigest("b")),
        moved,
        moved,
        RolloutStage.CANARY,
        Selector(5, ("one",), ("payments",), ("staging",)),
        Terms(seconds=1),
        3,
    )
    assert read_tally(json.loads(json.dumps(tally.as_json()))) == tally
    assert read_rollout(json.loads(json.dumps(rollout.as_json()))) == rollout
    assert (tally.other, tally.looser, tally.risky, tally.disagreements) == (1, 1, 1, 1)


def test_terms_are_only_ever_made_stricter_by_who_starts() -> None:
    assert Terms(seconds=60, decisions=10).strictest(1, 1) == Terms(seconds=60, decisions=10)
    assert Terms(seconds=60, decisions=10).strictest(90, 20) == Terms(seconds=90, decisions=20)
