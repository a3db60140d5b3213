from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.tables.compiled_tables import compile_tables
from aisecops_server.domain.tables.policy_tables import OPTIONAL_TABLES, TABLE_NAMES

from tests.scenes.policy.policy_cases import BUNDLE, tables


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


@pytest.mark.parametrize("table", [name for name in TABLE_NAMES if name not in OPTIONAL_TABLES])
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
        ("approvals", ("tools", "crm/issue_refund", "amount_over"), "lots", 'valid integer, not "lots"'),
        ("capabilities", ("mail.send", "tools"), ["web/fetsh"], "is not defined; the nearest is 'web/fetch'"),
        ("agents", (SUPPORT, "max_delegation_depth"), "2", "valid integer"),
        ("capabilities", ("mail.send", "tools"), ["workspace/*"], "match pattern"),
        ("capabilities", ("mail.send", "tools"), ["workspace/fly"], "'workspace/fly' is not defined"),
        ("tools", ("moon/land",), {"description": "x"}, "'moon' is not defined"),
        ("tools", ("web/fetch", "effect"), "reed", "'read'"),
        ("tools", ("web/fetch", "arguments", "url"), "target", "'destination'"),
        ("servers", ("web", "tools"), ["fetch", "fly"], "'web/fly' is not defined"),
        ("servers", ("web", "tools"), "all", "catalogued"),
        ("agents", (SUPPORT, "capabilities", "web.read", "expires"), "2026-02-30", "YYYY-MM-DD"),
        ("agents", (SUPPORT, "capabilities", "web.read", "expires"), "20260230", "YYYY-MM-DD"),
        ("agents", (SUPPORT, "capabilities", "web.read", "expires"), "9999-12-31", "YYYY-MM-DD"),
        ("agents", (SUPPORT, "capabilities", "web.read", "environments"), ["moon"], "'moon' is not defined"),
        ("agents", (SUPPORT, "capabilities", "web.read", "environments"), [], "at least 1 item"),
        ("agents", (SUPPORT, "capabilities", "web.read", "unscoped"), ["web/search"], "no scopes"),
        ("budgets", ("profiles", "default", "session_calls"), -1, "greater than or equal to 0"),
        ("budgets", ("profiles", "default", "limits"), {"day": {"calls": 1.5}}, "valid integer"),
        ("budgets", ("profiles", "default", "limits"), {"day": {"cents": 1}}, "'micro_usd'"),
        ("budgets", ("profiles", "default", "limits"), {"year": {"calls": 1}}, "'month'"),
        ("budgets", ("teams",), {"nobody": {}}, "'nobody' is not defined"),
        ("budgets", ("teams",), {"workplace": {"limits": {"session": {"calls": 1}}}}, "'minute'"),
        ("budgets", ("tenants",), {"moon": {}}, "'moon' is not defined"),
        ("budgets", ("tools",), {"web/fetsh": {}}, "'web/fetsh' is not defined; the nearest is 'web/fetch'"),
        ("budgets", ("tools",), {"web/fetch": {"limits": {"day": {"tokens": 1}}}}, "'micro_usd'"),
        ("budgets", ("approval_percent",), 0, "greater than or equal to 1"),
        ("costs", ("tools", "web/fly"), {}, "'web/fly' is not defined"),
        ("costs", ("other_models", "input_per_million"), 0.5, "valid integer"),
        ("modes", ("agents",), {"nobody": "observe"}, "'nobody' is not defined"),
        ("modes", ("rules",), {"budget": "dry_run"}, "'observe'"),
        ("modes", ("rules",), {"Budget": "observe"}, "match pattern"),
        ("modes", ("default",), "off", "'enforce'"),
        ("people", ("root",), {"aliases": ["ANN.meyer@corp.example"]}, "is a name of ann.meyer@corp.example too"),
        ("people", ("root",), {"teams": ["Workplace"]}, "is written 'workplace' elsewhere"),
        ("approvals", ("groups",), ["strangers"], "'strangers' is not defined"),
        ("approvals", ("expires_seconds",), 901, "less than or equal to 900"),
        ("approvals", ("tools", "deploy/release", "expires_seconds"), 0, "greater than or equal to 1"),
        ("approvals", ("tools", "deploy/release", "groups"), ["strangers"], "'strangers' is not defined"),
        ("approvals", ("tools", "deploy/release", "groups"), [], "at least 1 item"),
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
    assert refused.metadata()["key"] or table in ("risk", "trust", "people")
    assert says in refused.message
    assert f"data/{table}.yaml" in refused.hint


def test_a_field_that_is_missing_because_of_a_slip_is_told_by_the_slip(files):
    agent = files["agents"][SUPPORT]
    agent["ownr"] = agent.pop("owner")
    told = _refusal(files)
    assert told.metadata()["key"] == f"{SUPPORT}.ownr"
    assert "there is no such field; the nearest is 'owner'" in told.message
    del agent["ownr"]
    agent["colour"] = "red"
    assert _refusal(files).metadata()["key"] == f"{SUPPORT}.owner"


def test_a_trust_table_without_a_kind_is_refused(files):
    del files["trust"]["memory"]
    assert "no value for memory" in _refusal(files).message


def _granted(files: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Narrow the support agent's grant of refunds."""
    files["agents"][SUPPORT]["capabilities"]["refund.issue"] = {"granted_by": "finance", **fields}
    return files


def _grant(files: dict[str, Any]) -> dict[str, Any]:
    return compile_tables(files)["grants"][SUPPORT]["refund.issue"]


def test_a_grant_says_whether_anything_narrows_it_and_what_stands_apart(files):
    compiled = compile_tables(files)
    assert compiled["agents"][SUPPORT]["capabilities"]["refund.issue"] == {"granted_by": "finance-controls"}
    assert SUPPORT not in compiled["grants"]
    narrowed = compile_tables(_granted(files, expires="2026-12-31", environments=["production"]))
    assert narrowed["agents"][SUPPORT]["capabilities"]["refund.issue"] == {"granted_by": "finance", "narrowed": True}
    assert narrowed["grants"][SUPPORT]["refund.issue"] == {
        "id": f"{SUPPORT}#refund.issue",
        "granted_by": "finance",
        "expires_at_seconds": 1_798_761_600,
        "environments": {"production": True},
    }


def test_scopes_are_looked_up_by_tool_and_roles_become_arguments(files):
    scopes = _grant(
        _granted(
            files,
            scopes={"amount": {"at_most": 50}, "/order_id": {"values": ["o-1", 7], "optional": True}},
            role_scopes={"destination": {"domains": ["corp.example", "*.eu.example"], "recipients": ["c-1"]}},
        )
    )["scopes"]
    amount, order, destination = scopes["crm/issue_refund"]
    assert amount == {
        "places": [["amount"]],
        "required": True,
        "says": "0 to 50",
        "is": {"at_least": 0, "at_most": 50},
    }
    assert (order["places"], order["required"], order["says"]) == ([["order_id"]], False, "o-1, 7")
    assert (order["is"]["texts"], order["is"]["others"]) == ({"o-1": True}, [7])
    assert destination["places"] == [["customer_id"]]
    assert (destination["is"]["hosts"], destination["is"]["under"]) == ({"corp.example": True}, {"eu.example": True})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"scopes": {"iban": {"values": ["x"]}}}, "no tool of the capability has iban"),
        ({"role_scopes": {"query": {"values": ["x"]}}}, "no tool of the capability has the role query"),
        ({"role_scopes": {"target": {"values": ["x"]}}}, "'destination'"),
        ({"scopes": {"amount": {}}}, "give either at_most"),
        ({"scopes": {"amount": {"optional": True}}}, "give either at_most"),
        ({"scopes": {"amount": {"at_most": 5, "values": [1]}}}, "give either at_most"),
        ({"scopes": {"amount": {"at_least": 5}}}, "at_least needs an at_most"),
        ({"scopes": {"amount": {"at_least": 5, "at_most": 4}}}, "at_least is above at_most"),
        ({"scopes": {"amount": {"at_most": "5"}}}, "valid integer"),
        ({"scopes": {"reason": {"paths": ["/srv/../etc"]}}}, "match pattern"),
        ({"scopes": {"reason": {"paths": ["/srv/docs/"]}}}, "match pattern"),
        ({"scopes": {"reason": {"paths": ["/"]}}}, "match pattern"),
        ({"scopes": {"reason": {"domains": ["Corp.example"]}}}, "match pattern"),
        ({"scopes": {"reason": {"domains": ["*"]}}}, "match pattern"),
        ({"scopes": {"reason": {"domains": ["corp.example."]}}}, "match pattern"),
        ({"scopes": {"reason": {"domains": ["https://corp.example"]}}}, "match pattern"),
        ({"scopes": {"amount": {"at_most": 5}}, "unscoped": ["crm/issue_refund"]}, "is unscoped and has arguments"),
        ({"scopes": {"amount": {"at_most": 5}}, "unscoped": ["web/fetch"]}, "which the capability does not list"),
        ({"scope": {"amount": {"at_most": 5}}}, "the nearest is 'scopes'"),
    ],
)
def test_a_scope_that_means_nothing_is_refused(files, fields, says):
    refused = _refusal(_granted(files, **fields))
    assert says in refused.message
    assert refused.metadata()["key"].startswith(f"{SUPPORT}.capabilities.refund.issue")


def test_limits_name_whose_they_are_and_the_share_from_which_people_are_asked(files):
    files["budgets"]["approval_percent"] = 80
    files["budgets"]["profiles"]["service"] |= {"depth": 3, "limits": {"day": {"calls": 9}, "session": {"tokens": 100}}}
    files["budgets"]["teams"] = {"customer-support": {"depth": 1, "limits": {"month": {"micro_usd": 1000}}}}
    files["budgets"]["tenants"] = {"default": {"limits": {"hour": {"writes": 5}}}}
    files["budgets"]["tools"] = {"web/search": {"depth": 0, "limits": {"minute": {"calls": 3}}}}
    compiled = compile_tables(files)
    agent, limits = compiled["agents"][SUPPORT], compiled["limits"]["agents"][SUPPORT]
    assert (agent["depth"], agent["limited"]) == (1, True)
    assert [(limit["key"], limit["charge"]["limit"], limit["ask_above"]) for limit in limits["lasting"]] == [
        (f"agent:{SUPPORT}/calls/day", 9, 7),
        ("team:customer-support/micro_usd/month", 1000, 800),
        ("tenant:default/writes/hour", 5, 4),
    ]
    assert [(limit["charge"]["id"], limit["charge"]["limit"]) for limit in limits["session"]] == [("", 100)]
    tool = compiled["tools"]["web/search"]
    assert (tool["depth"], tool["limited"]) == (0, True)
    assert compiled["limits"]["tools"]["web/search"] == [
        {
            "key": "tool:web/search/calls/minute",
            "metric": "calls",
            "ask_above": 2,
            "charge": {"subject": "tool", "id": "web/search", "metric": "calls", "window": "minute", "limit": 3},
        }
    ]
    assert "limited" not in compiled["tools"]["web/fetch"]
    assert compiled["costs"]["tools"]["web/search"] == {"micro_usd": 5000, "wall_milliseconds": 2000}
    assert compiled["costs"]["other_tools"] == {"micro_usd": 0, "wall_milliseconds": 1000}


def test_an_approval_of_a_tool_takes_what_the_tool_says_and_else_what_is_said_for_all(files):
    approvals = compile_tables(files)["approvals"]
    assert approvals["tools"]["payments/create_transfer"] == {
        "approvers_required": 2,
        "groups": {"finance-approvers": True},
        "expires_seconds": 900,
    }
    assert "crm/issue_refund" not in approvals["tools"]
    files["approvals"] |= {"approvers_required": 3, "groups": ["support-approvers"], "expires_seconds": 60}
    files["approvals"]["tools"]["payments/create_transfer"] = {"always": True, "expires_seconds": 30}
    approvals = compile_tables(files)["approvals"]
    assert approvals["other"] == {
        "approvers_required": 3,
        "groups": {"support-approvers": True},
        "expires_seconds": 60,
    }
    assert approvals["tools"]["payments/create_transfer"] == {**approvals["other"], "expires_seconds": 30}


def test_people_are_found_by_any_of_their_names(files):
    files["people"]["ann.meyer@corp.example"]["aliases"] = ["spiffe://corp.example/person/Ann"]
    compiled = compile_tables(files)
    assert compiled["person_names"]["spiffe://corp.example/person/ann"] == "ann.meyer@corp.example"
    assert compiled["people"]["ann.meyer@corp.example"]["teams"] == {"customer-support": True}


def test_modes_are_said_by_agent_and_else_by_default(files):
    files["modes"] = {"default": "observe", "agents": {SUPPORT: "enforce"}, "rules": {"budget": "enforce"}}
    compiled = compile_tables(files)
    assert compiled["agents"][SUPPORT]["mode"] == "enforce"
    assert compiled["agents"]["spiffe://corp.example/agent/planner"]["mode"] == "observe"
    assert compiled["modes"] == {"observed": True, "rules": {"budget": "enforce"}}
    files["modes"] = {"agents": {SUPPORT: "dry_run"}}
    assert compile_tables(files)["modes"] == {"observed": False, "rules": {}}


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("redact", {"fields": ["card"]}),
        ("redact", {"fields": ["card"], "of": "arguments"}),
        ("limit", {"rows": 0}),
        ("confirm", {}),
        ("confirm", {"question": "Really?"}),
        ("log_digest_only", {}),
        ("of_the_house", {"anything": 1}),
    ],
)
def test_an_obligation_that_an_enforcement_point_can_meet_is_taken(files, kind, parameters):
    files["tools"]["web/fetch"]["obligations"] = [{"kind": kind, "parameters": parameters}]
    assert compile_tables(files)["tools"]["web/fetch"]["obligations"] == [{"kind": kind, "parameters": parameters}]


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("redact", {}),
        ("redact", {"fields": []}),
        ("redact", {"fields": "card"}),
        ("redact", {"fields": ["card"], "of": "arguements"}),
        ("redact", {"fields": ["card"], "in": "arguments"}),
        ("limit", {"rows": -1}),
        ("limit", {"rows": True}),
        ("limit", {"rows": 1, "columns": 2}),
        ("confirm", {"ask": "?"}),
        ("log_digest_only", {"always": True}),
    ],
)
def test_an_obligation_that_every_enforcement_point_would_refuse_is_refused_here(files, kind, parameters):
    files["tools"]["web/fetch"]["obligations"] = [{"kind": kind, "parameters": parameters}]
    assert "not understood" in _refusal(files).message
