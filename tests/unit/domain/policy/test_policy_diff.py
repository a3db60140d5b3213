"""Two policy trees as text: what differs is shown, and what would take too long is named and not compared."""

from __future__ import annotations

import pytest
from aisecops_server.domain.bundles.bundle import CommitId, PolicyTree
from aisecops_server.domain.policy.policy_diff import policy_diff

BREAKS = ["\n", "\r", "\x0c", "\u2028"]


def tree(**files: str) -> PolicyTree:
    return PolicyTree(CommitId("1" * 40), {f"{name}.yaml": text.encode() for name, text in files.items()})


def test_only_files_that_differ_are_told_with_where_they_came_from_and_went() -> None:
    found = policy_diff(tree(a="x: 1\n", b="same\n", c="gone\n"), tree(a="x: 2\n", b="same\n", d="new\n"))
    assert list(found) == ["a.yaml", "c.yaml", "d.yaml"]
    assert found["a.yaml"].splitlines() == ["--- a/a.yaml", "+++ b/a.yaml", "@@ -1 +1 @@", "-x: 1", "+x: 2"]
    assert found["c.yaml"].splitlines()[:2] == ["--- a/c.yaml", "+++ /dev/null"]
    assert found["d.yaml"].splitlines()[:2] == ["--- /dev/null", "+++ b/d.yaml"]


@pytest.mark.parametrize("end", BREAKS, ids=ascii)
def test_a_file_with_too_many_lines_is_named_whatever_ends_them(end: str) -> None:
    long, short = end.join(["x"] * 11), end.join(["x"] * 10)
    for before, after in ((tree(a=long), tree(a="y")), (tree(a="y"), tree(a=long))):
        assert policy_diff(before, after, most_lines=10) == {"a.yaml": ""}
        assert policy_diff(before, after)["a.yaml"]
    assert policy_diff(tree(a=short), tree(a="y"), most_lines=10)["a.yaml"]


def test_many_files_are_named_when_enough_was_compared() -> None:
    before = tree(**{f"f{at}": "x\n" * 10 for at in range(8)})
    after = tree(**{f"f{at}": "y\n" * 10 for at in range(8)})
    found = policy_diff(before, after, most_lines=10)
    assert [bool(text) for text in found.values()] == [True] * 5 + [False] * 3
