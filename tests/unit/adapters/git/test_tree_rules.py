"""Whatever a tree lists is read by the rules or refused by name; nothing else happens."""

from __future__ import annotations

import pytest
from aisecops_server.adapters.git.source import parse_source, ref_name
from aisecops_server.adapters.git.tree_rules import policy_entries
from aisecops_server.domain.errors import BundleRejectedError, RepositoryUnavailableError, UnknownRevisionError
from aisecops_server.domain.policy.policy_paths import POLICY_DIRECTORIES, READ_SUFFIXES
from hypothesis import given
from hypothesis import strategies as st

COMMIT = "a" * 40
NAMES = st.binary(max_size=20).filter(lambda name: b"\x00" not in name)
PATHS = st.one_of(
    NAMES,
    st.builds(
        lambda directory, name, suffix: f"{directory}/{name}{suffix}".encode("utf-8", "surrogatepass"),
        st.sampled_from(["rego", "data", "cases", "docs", "..", "rego/..", "", "bundle.yaml"]),
        st.text(max_size=8).filter(lambda name: "\x00" not in name),
        st.sampled_from([".rego", ".yaml", ".json", ".md", ".sh", ""]),
    ),
)
MODES = st.sampled_from([b"100644", b"100644", b"100644", b"100755", b"120000", b"160000", b"100664"])


def listing(*entries: tuple[bytes, bytes, int]) -> bytes:
    return b"".join(b"%b blob %b %7d\t%b\x00" % (mode, b"0" * 40, size, path) for mode, path, size in entries)


@given(st.lists(st.tuples(MODES, PATHS, st.integers(0, 2**21)), max_size=6))
def test_what_is_read_lies_where_policy_lies_and_is_of_a_known_kind(entries):
    refusal, found = "", []
    try:
        found = policy_entries(listing(*entries), commit=COMMIT)
    except BundleRejectedError as error:
        refusal = error.message
    assert refusal.isprintable()
    if refusal:
        return
    assert {mode for mode, _, _ in entries} <= {b"100644", b"100755"}
    for entry in found:
        assert entry.path == "bundle.yaml" or entry.path.split("/")[0] in POLICY_DIRECTORIES
        assert "." + entry.path.rpartition(".")[2] in READ_SUFFIXES
        assert ".." not in entry.path.split("/")
    assert [entry.path for entry in found] == sorted({entry.path for entry in found})


@pytest.mark.parametrize(
    "path",
    [
        "CODEOWNERS",
        "rego/CODEOWNERS",
        "data/README.md",
        "cases/.gitkeep",
        ".github/workflows/ci.yml",
        "Makefile",
        "x.sh",
    ],
)
def test_files_that_people_keep_beside_policy_are_left_alone(path):
    assert policy_entries(listing((b"100644", path.encode(), 1)), commit=COMMIT) == []


@given(st.text(max_size=60) | st.text("~-/:@.ab", max_size=12))
def test_any_text_is_a_source_that_git_cannot_take_for_an_option_or_a_helper_or_is_refused(text):
    try:
        source = parse_source(text)
    except RepositoryUnavailableError:
        return
    assert (
        source.location.startswith(("/", "https://", "ssh://", "file://")) or "@" in source.location.partition(":")[0]
    )
    assert not source.location.startswith("-")
    assert source.location.isprintable()


@given(st.text(max_size=60))
def test_any_text_is_a_plain_name_or_is_refused(text):
    try:
        name = ref_name(text)
    except UnknownRevisionError:
        return
    assert name[0].isalnum() or name[0] == "_"
    assert not set(name) & set(" ~^:?*[\\\x7f")
    assert name.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://example.com/policy.git", "https://example.com/policy.git"),
        ("https://robot:secret@example.com/policy.git", "https://example.com/policy.git"),
        ("ssh://git@example.com:2222/policy.git", "ssh://example.com:2222/policy.git"),
        ("git@example.com:team/policy.git", "git@example.com:team/policy.git"),
        ("/srv/policy", "/srv/policy"),
    ],
)
def test_honest_sources_are_known_and_shown_without_their_password(text, shown):
    assert parse_source(text).shown == shown
    assert parse_source(text).location == text
