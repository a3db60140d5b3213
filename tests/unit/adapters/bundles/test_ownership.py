"""Who answers for what: nothing without an owner and a reviewer, and the Git host is told the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from aisecops_server.adapters.bundles.ownership import owners
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.tables.policy_tables import TABLE_NAMES

from tests.scenes.policy.policy_cases import BUNDLE

PATHS = [*(f"data/{name}.yaml" for name in TABLE_NAMES), "rego", "cases", "compliance", "bundle.yaml"]


@pytest.fixture(scope="module")
def shipped() -> dict[str, object]:
    held: dict[str, object] = yaml.safe_load((BUNDLE / "bundle.yaml").read_text(encoding="utf-8"))
    return held


def owned(paths: dict[str, dict[str, str]], *asked: str) -> dict[str, object]:
    return dict(owners({"owners": paths}, asked))


ANN = {"role": "security", "team": "ann", "reviewed_by": "platform"}
BOB = {"role": "platform", "team": "bob", "reviewed_by": "security"}


def test_every_table_of_the_shipped_policy_has_an_owner_and_another_reviewer(shipped) -> None:
    found = owners(shipped, PATHS)
    assert set(found) == set(PATHS)
    roles = {path: entry["role"] for path, entry in found.items()}
    assert roles["data/capabilities.yaml"] == "platform"
    assert roles["data/approvals.yaml"] == "secops"
    assert roles["rego"] == "security"


def test_the_git_host_asks_the_same_roles_for_a_review(shipped) -> None:
    lines = (Path(BUNDLE) / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    asked = {
        line.split()[0].strip("/"): [group.removeprefix("@") for group in line.split()[1:]]
        for line in lines
        if line and not line.startswith("#")
    }
    assert asked.pop("CODEOWNERS") == ["security", "platform"]
    # What is let pass, by which conditions, and what runs the checks is no part of a bundle: two groups look at it too.
    for path in ("accepted-flips.yaml", "gates.yaml", "waivers.yaml", "conftest", ".github", ".gitlab-ci.yml"):
        assert len(asked.pop(path)) == 2
    found = owners(shipped, PATHS)
    assert asked == {path: [entry["role"], entry["reviewed_by"]] for path, entry in found.items()}


def test_the_longest_part_of_a_path_that_is_named_counts() -> None:
    found = owned({"data": ANN, "data/agents.yaml": BOB}, "data/agents.yaml", "data/tools.yaml")
    assert [entry["team"] for entry in found.values()] == ["bob", "ann"]


@pytest.mark.parametrize(
    "path", ["data", "dat", "data/tools", "/data/tools.yaml", "tools.yaml", "", "data/tools.yaml/x"]
)
def test_a_path_that_no_entry_names_is_refused(path: str) -> None:
    with pytest.raises(BundleRejectedError, match=r"nobody owns data/agents\.yaml"):
        owned({path or "x": ANN} if path != "data" else {}, "data/agents.yaml")
