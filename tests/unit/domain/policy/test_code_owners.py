"""Who a Git host asks about a change: the last line that fits, read as the host that asks the fewest reads it."""

from __future__ import annotations

import pytest
from aisecops_server.domain.policy.code_owners import asked_by_hosts, read_owners

BOTH = "@a @b"


@pytest.mark.parametrize(
    ("pattern", "covered", "beside"),
    [
        ("*", ["a", "a/b", "a/b/c.rego"], []),
        ("/*", ["a"], ["a/b"]),
        ("/data/", ["data/a", "data/b/c"], ["data", "x/data/a"]),
        ("/data", ["data", "data/a", "data/b/c"], ["database", "x/data"]),
        ("data/", ["data/a", "x/data/a"], ["data", "x/data"]),
        # Not what is deeper: a star is one name.
        ("/data/*", ["data/a.yaml"], ["data/b/c.yaml", "data"]),
        ("/data/**", ["data/a", "data/b/c"], ["x/data/a"]),
        ("data/*.yaml", ["data/a.yaml"], ["data/b/c.yaml", "x/data/a.yaml", "data/a.yml"]),
        ("*.yaml", ["a.yaml", "b/a.yaml"], ["a.yml"]),
        ("/rego/**/test.rego", ["rego/test.rego", "rego/a/b/test.rego"], ["test.rego", "rego/a/tests.rego"]),
        ("**/cases", ["cases", "x/cases", "x/cases/a"], ["case"]),
        ("/da?a", ["data"], ["daa"]),
        # One host covers what is below a folder of that name, the other does not.
        ("/da*", ["data"], ["data/a"]),
        ("/d[ab]ta", ["d[ab]ta"], ["data"]),
        ("/a/**/**/**/b/**/**/c", ["a/b/c", "a/x/y/b/z/c"], ["a/c", "a/b"]),
    ],
)
def test_a_pattern_covers_what_every_host_takes_it_to_cover(
    pattern: str, covered: list[str], beside: list[str]
) -> None:
    lines = read_owners(f"{pattern} {BOTH}\n".encode())
    assert [path for path in covered if len(asked_by_hosts(path, lines)[1]) != 2] == []
    assert [path for path in beside if asked_by_hosts(path, lines) != (0, frozenset())] == []


@pytest.mark.parametrize(
    ("below", "path", "asked"),
    [
        ("/data/agents.yaml @a", "data/agents.yaml", {"@a"}),
        ("/data/agents.yaml", "data/agents.yaml", set()),
        ("*.yaml @a", "data/agents.yaml", {"@a"}),
        ("!/data/agents.yaml", "data/agents.yaml", set()),
        # A host that covers what is below asks one, the other still asks two.
        ("/dat* @a", "data/agents.yaml", {"@a"}),
        # Optional where sections are known; nobody is who is not named as hosts name people.
        ("/data/ @c @d", "data/agents.yaml", {"@c", "@d"}),
        ("/data/ c d", "data/agents.yaml", set()),
        ("/data/ @a @A", "data/agents.yaml", {"@a"}),
        ("/data/ @a # @b", "data/agents.yaml", {"@a"}),
        ("/data/ lead@corp.example @b", "data/agents.yaml", {"lead@corp.example", "@b"}),
    ],
)
def test_of_the_lines_that_fit_the_last_one_counts(below: str, path: str, asked: set[str]) -> None:
    number, groups = asked_by_hosts(path, read_owners(f"# owners\n* {BOTH}\n\n{below}\n".encode()))
    assert (number, groups) == (4, asked)


def test_what_a_host_calls_optional_neither_asks_nor_keeps_others_from_being_asked() -> None:
    only_optional = read_owners(f"^[Docs][2]\n* {BOTH}\n".encode())
    assert asked_by_hosts("data/agents.yaml", only_optional) == (0, frozenset())
    hidden = read_owners(f"* {BOTH}\n^[Docs]\n/data/ @a\n".encode())
    assert asked_by_hosts("data/agents.yaml", hidden) == (3, frozenset({"@a"}))
    again = read_owners(f"^[Docs]\n/x @a\n[Rules]\n* {BOTH}\n".encode())
    assert asked_by_hosts("data/agents.yaml", again) == (4, frozenset({"@a", "@b"}))


@pytest.mark.parametrize("blank", ["\u2028", "\u0085", "\x0c", "\x0b", "\x1e", "\r"])
def test_what_ends_a_line_for_us_alone_hides_no_line_in_a_remark(blank: str) -> None:
    lines = read_owners(f"* @a\n# remark {blank}* @a @b\n".encode())
    assert asked_by_hosts("data/agents.yaml", lines) == (1, frozenset({"@a"}))


def test_a_blank_that_is_none_to_hosts_parts_no_words() -> None:
    lines = read_owners("* @a\u00a0@b\r\n".encode())
    assert len(asked_by_hosts("data/agents.yaml", lines)[1]) == 1


def test_a_pattern_that_was_made_to_take_long_does_not() -> None:
    stars = "/".join(["*a*a*a*a*a*a*a*a*a*a*a*b", "**"] * 100)
    lines = read_owners(f"* {BOTH}\n{stars} @a\n".encode())
    assert asked_by_hosts("/".join(["a" * 250] * 250), lines) == (1, frozenset({"@a", "@b"}))
