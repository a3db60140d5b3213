from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.adapters.bundles.policy_files import PolicyFiles, read_tools_table
from aisecops_server.adapters.bundles.table_text import entry_text
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.agents.onboarding import NewEntry
from aisecops_server.domain.errors import BundleRejectedError, InvalidRequestError, RepositoryUnavailableError
from hypothesis import given
from hypothesis import strategies as st

NEW = NewEntry("agents", "new", {"owner": "me", "environments": ["production"]}, {"owner": "check", "": "seen"})
ADDED = "\nnew:\n  # seen\n  owner: me # check\n  environments: [production]\n"
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS
FIELDS = st.dictionaries(
    TEXTS.filter(lambda name: name != "<<"),
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)),
    min_size=1,
    max_size=4,
)


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "agents.yaml"


def appended(path: Path) -> bytes:
    return PolicyFiles(path.parents[1]).appended("agents", [NEW]).content


def test_what_is_there_stays_byte_for_byte_and_the_new_entry_stands_at_the_end(agents: Path) -> None:
    before = "# A comment.\nold: {owner: 'you'}   # spaces\n\n# The end.\n"
    agents.write_text(before, encoding="utf-8")
    agents.chmod(0o640)
    held = PolicyFiles(agents.parents[1])
    held.write([held.appended("agents", [NEW])])
    assert agents.read_text(encoding="utf-8") == before + ADDED
    assert stat.S_IMODE(agents.stat().st_mode) == 0o640
    assert [path.name for path in agents.parent.iterdir()] == ["agents.yaml"]


@pytest.mark.parametrize(
    ("before", "separation"), [(b"old: {}", b"\n"), (b"old:\n  note: |+\n    text\n", b""), (b"old: {}\n---", b"\n")]
)
def test_a_file_is_appended_to_only_if_it_then_says_what_it_said_and_the_new(
    agents: Path, before: bytes, separation: bytes
) -> None:
    agents.write_bytes(before)
    if before == b"old: {}":
        assert appended(agents) == before + separation + ADDED.encode()
    else:
        # A kept line end would become part of the text; a second document would not be read.
        with pytest.raises(BundleRejectedError):
            appended(agents)


def test_line_ends_stay_those_of_the_file(agents: Path) -> None:
    agents.write_bytes(b"old: {}\r\n")
    assert appended(agents) == b"old: {}\r\n" + ADDED.replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    "before",
    [b"{old: {}}\n", b"{}\n", b"- old\n", b"text\n", b"old: {}\n...\n", b"new: {}\n", b"  old: {}\n", b"null\n"],
)
def test_a_file_of_another_shape_is_refused_and_left_alone(agents: Path, before: bytes) -> None:
    agents.write_bytes(before)
    with pytest.raises(BundleRejectedError, match="nothing can be appended to it"):
        appended(agents)
    assert agents.read_bytes() == before


def test_a_link_is_refused(agents: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text("old: {}\n", encoding="utf-8")
    agents.symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(BundleRejectedError, match="not a file"):
        PolicyFiles(tmp_path)


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="no tables"):
        PolicyFiles(tmp_path)


def test_a_file_that_somebody_changed_meanwhile_is_not_written_over(agents: Path) -> None:
    agents.write_text("old: {}\n", encoding="utf-8")
    held = PolicyFiles(agents.parents[1])
    new = held.appended("agents", [NEW])
    agents.write_text("other: {}\n", encoding="utf-8")
    with pytest.raises(RepositoryUnavailableError, match="changed meanwhile"):
        held.write([new])
    assert agents.read_text(encoding="utf-8") == "other: {}\n"
    assert len(list(agents.parent.iterdir())) == 1


@pytest.mark.parametrize("content", ["- x\n", "x\n"])
def test_a_table_of_tools_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tools.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidRequestError, match="not a table of tools"):
        read_tools_table(tmp_path / "tools.yaml")


@given(key=TEXTS.filter(lambda name: name != "<<"), fields=FIELDS, remark=TEXTS)
def test_an_entry_is_read_back_as_it_was_whatever_stands_in_it(key: str, fields: dict[str, Any], remark: str) -> None:
    text = entry_text(key, fields, dict.fromkeys(["", *fields], remark))
    assert parse_yaml("x.yaml", text.encode()) == {key: fields}


@pytest.mark.parametrize(
    "text", ["no", "Yes", "null", "1", "1.5", "a: b", "a #b", "- a", "*a", "&a", "", " a", "a\nb", "ä"]
)
def test_a_text_that_a_reader_could_take_for_something_else_is_quoted(text: str) -> None:
    assert entry_text("k", {"f": text}, {}).startswith('k:\n  f: "')
