from __future__ import annotations

import pytest
from aisecops_server.domain.bundles.bundle import CommitId, PolicyTree
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.policy.policy_draft import changed_tree, drafted_tree
from aisecops_server.domain.policy.policy_paths import MAX_FILE_BYTES
from aisecops_server.domain.tables.table_patch import table_change

FILES = {
    "bundle.yaml": b"name: x\n",
    "data/trust.yaml": b"user_prompt: trusted\n",
    "rego/aisecops/a.rego": b"package a",
}


def test_a_draft_is_named_by_its_content_and_what_is_no_policy_does_not_count():
    tree = drafted_tree(FILES)
    assert tree.commit == drafted_tree({**FILES, "README.md": b"x", "notes.txt": b"y"}).commit
    assert tree.commit != drafted_tree({**FILES, "bundle.yaml": b"name: y\n"}).commit
    assert len(tree.commit) == 40
    assert tree.drafted == set(FILES)


@pytest.mark.parametrize(
    "path",
    [
        "rego/aisecops/../../../../tmp/x.rego",
        "/etc/passwd.rego",
        "rego//x.rego",
        "rego\\x.rego",
        "rego/./x.rego",
        "rego/\u202ex.rego",
        "rego/.git/x.rego",
        "rego/" + "x" * 600 + ".rego",
        "",
    ],
)
def test_a_name_that_leaves_the_tree_is_refused(path):
    with pytest.raises(InvalidRequestError) as refused:
        drafted_tree({**FILES, path: b"package a"})
    assert refused.value.metadata()["field"] == "files"


def test_too_much_is_refused():
    with pytest.raises(InvalidRequestError, match="bytes"):
        drafted_tree({**FILES, "rego/aisecops/b.rego": b"x" * (MAX_FILE_BYTES + 1)})
    with pytest.raises(InvalidRequestError, match="4,096 files"):
        drafted_tree({f"rego/aisecops/{number}.rego": b"" for number in range(4097)})
    with pytest.raises(InvalidRequestError, match="no policy"):
        drafted_tree({"README.md": b"x"})


def test_changed_tables_make_a_draft_of_a_commit():
    tree = PolicyTree(CommitId("1" * 40), FILES)
    made = changed_tree(tree, {"trust": {"user_prompt": "trusted"}}, [table_change("trust.user_prompt=external")])
    assert made.files["data/trust.yaml"] == b'{"user_prompt":"external"}'
    assert made.drafted == {"data/trust.yaml"}
    assert made.commit != tree.commit
    assert changed_tree(tree, {}, []) is tree
