from __future__ import annotations

import pytest
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.tables.table_patch import patched, table_change

TABLES = {
    "approvals": {"approvers_required": 1, "tools": {"crm/issue_refund": {"amount_over": 100}}},
    "agents": {
        "spiffe://corp.example/agent/a": {"budget": "default", "capabilities": {"refund.issue": {"granted_by": "x"}}}
    },
    "trust": {"user_prompt": "trusted"},
    "budgets": {"a": {"b": {"c": 1}}, "a.b": {"c": 2}},
}


def made(*texts: str) -> dict[str, object]:
    return patched(TABLES, [table_change(text) for text in texts])


def test_a_value_is_set_and_the_given_tables_stay_as_they_are():
    assert made("approvals.tools.crm/issue_refund.amount_over=50")["approvals"]["tools"] == {
        "crm/issue_refund": {"amount_over": 50}
    }
    assert TABLES["approvals"]["tools"] == {"crm/issue_refund": {"amount_over": 100}}


def test_keys_that_hold_dots_and_slashes_are_found_among_those_that_are_there():
    changed = made("agents.spiffe://corp.example/agent/a.capabilities.refund.issue.granted_by=y")
    agent = changed["agents"]["spiffe://corp.example/agent/a"]
    assert agent["capabilities"] == {"refund.issue": {"granted_by": "y"}}


def test_the_longest_key_that_fits_wins():
    assert made("budgets.a.b.c=9")["budgets"] == {"a": {"b": {"c": 1}}, "a.b": {"c": 9}}


def test_json_is_read_as_json_and_anything_else_as_text():
    assert made("trust.user_prompt=external")["trust"] == {"user_prompt": "external"}
    assert made("approvals.approvers_required=2")["approvals"]["approvers_required"] == 2
    assert made('approvals.tools.new/tool={"always": true}')["approvals"]["tools"]["new/tool"] == {"always": True}


def test_null_takes_an_entry_out_and_only_one_that_is_there():
    assert made("approvals.tools.crm/issue_refund=null")["approvals"]["tools"] == {}
    with pytest.raises(InvalidRequestError, match="not there"):
        made("approvals.tools.crm/nothing=null")


def test_changes_are_made_one_after_the_other():
    assert made("trust.user_prompt=external", "trust.user_prompt=internal")["trust"] == {"user_prompt": "internal"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "approvals",
        "approvals=1",
        "approvals.x",
        "=1",
        ".x=1",
        "nowhere.x=1",
        "approvals.approvers_required.deeper=1",
        f"approvals.x={'1' * 5000}",
    ],
)
def test_what_is_no_change_of_a_table_is_refused_by_name(text):
    with pytest.raises(InvalidRequestError) as refused:
        made(text)
    assert refused.value.metadata()["field"] == "set"
