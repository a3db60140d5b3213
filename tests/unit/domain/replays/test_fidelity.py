from __future__ import annotations

from aisecops_server.domain.replays.fidelity import FEWEST, MOST, Check, Fidelity, sample_size, told
from aisecops_server.domain.replays.recorded_decision import Doubt


def test_nothing_checked_is_nothing_to_trust():
    assert not Fidelity().is_trustworthy


def test_one_that_does_not_reproduce_makes_all_untrustworthy_and_says_why():
    good, bad = Check("d1", "1" * 40), Check("d2", "2" * 40, Doubt.BUNDLE_MISSING, "revision 2")
    assert Fidelity((good,)).is_trustworthy
    made = Fidelity((good, bad, bad)).as_json()
    assert (made["trustworthy"], made["checked"], made["reproduced"]) == (False, 3, 1)
    assert made["problems"] == [
        {
            "reason": "bundle_missing",
            "message": told(Doubt.BUNDLE_MISSING),
            "count": 2,
            "example": "d2",
            "detail": "revision 2",
        }
    ]


def test_every_reason_is_told_in_words():
    assert all(told(doubt) for doubt in Doubt)


def test_the_sample_grows_with_the_selection_within_bounds():
    assert (sample_size(5), sample_size(5_000), sample_size(50_000), sample_size(10**7)) == (5, FEWEST, 500, MOST)
