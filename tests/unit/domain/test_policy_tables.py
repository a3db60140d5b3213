from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from aisecops_server.domain.compiled_tables import compile_tables
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.policy_tables import TABLE_NAMES

from tests.policy_cases import BUNDLE, tables


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    return {path.stem: yaml.safe_load(path.read_text()) for path in (BUNDLE / "data").glob("*.yaml")}


@pytest.fixture
def files(shipped) -> dict[str, Any]:
    return copy.deepcopy(shipped)


def _refusal(files: dict[str, Any]) -> BundleRejectedError:
    with pytest.raises(BundleRejectedError) as refused:
        compile_tables(files)
    return refused.value


def test_lists_become_objects_and_names_are_joined_so_that_rules_never_scan():
    compiled = tables()
    assert compiled["capabilities"]["mail.send"]["tools"] == {"workspace/send_email": True}
    assert compiled["tools"]["workspace/send_email"]["capabilities"] == {"mail.send": True}
    assert compiled["tools"]["shell/run"]["allowed_in"] == {"development": True}
    assert compiled["tools"]["crm/issue_refund"]["approval"]["amount_over"] == 100
    assert compiled["tools"]["tickets/read"]["approval"] == {"always": False, "amount_argument": "", "amount_over": 0}
    agent = compiled["agents"]["spiffe://corp.example/agent/slack-assistant"]
    assert agent["budget"]["session_calls"] == 40
    assert agent["environments"] == {"production": True}
    assert compiled["servers"]["shell"]["tools"] == {"run": True}


def test_what_an_entry_leaves_out_is_taken_for_the_worst(files):
    files["tools"]["web/unknown"] = {"description": "Nobody has looked at it yet."}
    entry = compile_tables(files)["tools"]["web/unknown"]
    assert (entry["effect"], entry["reach"], entry["result_trust"]) == ("execute", "external", "unverified")
    assert entry["capabilities"] == {}


def test_a_tool_that_its_server_does_not_list_is_allowed_nowhere(files):
    files["servers"]["web"]["tools"] = ["search"]
    compiled = compile_tables(files)
    assert compiled["tools"]["web/fetch"]["allowed_in"] == {}
    assert set(compiled["tools"]["web/search"]["allowed_in"]) == {"production", "staging", "development"}


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_a_missing_table_is_refused_by_name(files, table):
    del files[table]
    assert _refusal(files).metadata()["table"] == table


def test_a_table_that_nobody_reads_is_refused(files):
    files["toolz"] = {}
    assert "there is no such table" in _refusal(files).message


SUPPORT = "spiffe://corp.example/agent/support-assistant"


@pytest.mark.parametrize(
    ("table", "path", "value", "says"),
    [
        ("agents", (SUPPORT, "capabilities", "root"), {"granted_by": "me"}, "'root' is not defined"),
        ("agents", (SUPPORT, "budget"), "endless", "'endless' is not defined"),
        ("agents", (SUPPORT, "owner"), "", "at least 1 character"),
        ("agents", (SUPPORT, "environments"), [], "at least 1 item"),
        ("agents", (SUPPORT, "admin"), True, "there is no such field"),
        ("agents", (SUPPORT, "enviroments"), ["x"], "; the nearest is 'environments'"),
        ("capabilities", ("mail.send", "tools"), ["web/fetsh"], "is not defined; the nearest is 'web/fetch'"),
        ("agents", (SUPPORT, "max_delegation_depth"), "2", "valid integer"),
        ("capabilities", ("mail.send", "tools"), ["workspace/*"], "match pattern"),
        ("capabilities", ("mail.send", "tools"), ["workspace/fly"], "'workspace/fly' is not defined"),
        ("tools", ("moon/land",), {"description": "x"}, "'moon' is not defined"),
        ("tools", ("web/fetch", "effect"), "reed", "'read'"),
        ("tools", ("web/fetch", "arguments", "url"), "target", "'destination'"),
        ("servers", ("web", "tools"), ["fetch", "fly"], "'web/fly' is not defined"),
        ("servers", ("web", "tools"), "all", "catalogued"),
        ("budgets", ("default", "session_calls"), -1, "greater than or equal to 0"),
        ("approvals", ("approvers_required",), 0, "greater than or equal to 1"),
        ("approvals", ("tools", "crm/issue_refund", "amount_argument"), "order_id", "'order_id' is not defined"),
        ("approvals", ("tools", "crm/issue_refund"), {}, "say 'always: true'"),
        ("approvals", ("tools", "no/where"), {"always": True}, "'no/where' is not defined"),
        ("risk", ("deny_at_milli",), 1, "below approval_at_milli"),
        ("risk", ("base_milli",), {"read": 1}, "no value for delete"),
        ("trust", ("tool_result",), "trusted", "Input should be"),
        ("trust", ("memory",), "fully", "'trusted'"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_table_and_key(files, table, path, value, says):
    place = files[table]
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    refused = _refusal(files)
    assert refused.metadata()["table"] == table
    assert refused.metadata()["key"] or table in ("risk", "trust")
    assert says in refused.message
    assert f"data/{table}.yaml" in refused.hint


def test_a_trust_table_without_a_kind_is_refused(files):
    del files["trust"]["memory"]
    assert "no value for memory" in _refusal(files).message
