from __future__ import annotations

from aisecops_server.domain.policy.rego_reach import reachable

FILES = {
    "a.rego": b"package aisecops.rules.x.a\n\nimport data.aisecops.lib\n\ny := lib.z\n",
    "a_test.rego": b"package aisecops.rules.x.a_test\n\nimport data.aisecops.rules.x.a\n",
    "lib.rego": b"package aisecops.lib\n\nimport data.aisecops.lib.inner.deep\n",
    "inner.rego": b"package aisecops.lib.inner\n",
    "other.rego": b"package aisecops.other\n",
    "more_lib.rego": b"package aisecops.lib\n",
}


def test_what_is_mentioned_is_reached_and_nothing_else():
    assert set(reachable(FILES, ["a_test.rego"])) == {
        "a_test.rego",
        "a.rego",
        "lib.rego",
        "inner.rego",
        "more_lib.rego",
    }
    assert set(reachable(FILES, ["other.rego"])) == {"other.rego"}


def test_a_path_that_is_computed_reaches_everything_below_what_is_constant():
    files = {**FILES, "all.rego": b"package aisecops.all\n\nx := data.aisecops.rules[_][_].findings\n"}
    assert set(reachable(files, ["all.rego"])) >= {"a.rego", "a_test.rego"}
    assert "other.rego" not in reachable(files, ["all.rego"])
    files["all.rego"] = b"package aisecops.all\n\nx := data.aisecops[name]\n"
    assert set(reachable(files, ["all.rego"])) == set(files)


def test_what_is_not_there_is_not_reached():
    assert reachable(FILES, ["gone.rego"]) == {}
