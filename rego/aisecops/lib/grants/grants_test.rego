package aisecops.lib.grants_test

import data.aisecops.lib.grants
import data.aisecops.testing

# METADATA
# description: The tables, with what the support agent's grant of `desk` says besides.
tables(parts) := testing.granting({"desk": object.union({"granted_by": "alice", "id": "support#desk"}, parts)})

# METADATA
# description: The grant that covers the only step of a document.
covering(document, parts) := answer if {
	answer := grants.covering("support", 0) with input as document with data.tables as tables(parts)
}

desk := {"capability": "desk", "granted_by": "alice", "id": "support#desk"}

none := {"capability": "", "granted_by": "", "id": ""}

read := testing.one("crm/read", {"id": "c-1"})

naming(capability) := testing.document([object.union(testing.step("crm/read", {"id": "c-1"}), {"capability": capability})])

free(document) := answer if {
	answer := grants.covering("support", 0) with input as document with data.tables as testing.tables
}

test_a_grant_that_nothing_narrows_covers_the_tools_of_its_capability if {
	free(read) == desk
	free(naming("desk")) == desk
	free(naming("other")) == none
	free(testing.one("crm/unheard", {})) == none
}

test_a_grant_ends_with_its_last_second if {
	covering(read, {"expires_at_seconds": 1767225601}) == desk
	covering(read, {"expires_at_seconds": 1767225600}) == none
	covering(naming("desk"), {"expires_at_seconds": 1767225600}) == none
}

test_a_grant_holds_in_its_environments_only if {
	covering(read, {"environments": {"production": true}}) == desk
	covering(read, {"environments": {"staging": true}}) == none
	covering(testing.but(read, {"environment": "Production"}), {"environments": {"production": true}}) == none
}

scoped(tool, checks) := {"scopes": {tool: checks}}

check := {
	"places": [["id"]],
	"required": true,
	"says": "c-1",
	"is": {"texts": {"c-1": true}, "others": [], "paths": {}, "hosts": {}, "under": {}, "recipients": {}},
}

test_a_scoped_grant_covers_what_lies_within_its_scopes if {
	covering(read, scoped("crm/read", [check])) == desk
	covering(testing.one("crm/read", {"id": "c-2"}), scoped("crm/read", [check])) == none
	covering(testing.one("crm/read", {}), scoped("crm/read", [check])) == none
}

test_a_scoped_grant_covers_no_argument_that_the_catalogue_does_not_describe if {
	every other in ["ID", "Id", "id ", "customer", "force"] {
		covering(testing.one("crm/read", {"id": "c-1", other: "c-2"}), scoped("crm/read", [check])) == none
	}
}

test_a_scoped_grant_covers_no_tool_of_which_it_says_nothing if {
	covering(testing.one("crm/update", {"id": "c-1"}), scoped("crm/read", [check])) == none
	covering(testing.one("crm/update", {"id": "c-9", "x": 1}), scoped("crm/update", [])) == desk
}

outside(document) := found if {
	found := grants.outside(scoped("crm/read", [check]), 0) with input as document with data.tables as testing.tables
}

test_what_is_outside_is_told if {
	outside(testing.one("crm/read", {"id": "c-2"})) == [{"path": ["id"], "says": "c-1", "value": "c-2"}]
	described := {"path": ["x"], "says": "what data/tools.yaml describes", "value": 1}
	outside(testing.one("crm/read", {"id": "c-1", "x": 1})) == [described]
	unsaid := {"path": [], "says": "the tools that its scopes limit", "value": null}
	outside(testing.one("crm/update", {})) == [unsaid]
}

test_a_grant_that_does_not_cover_leaves_it_to_another if {
	opened := json.patch(tables({"environments": {"staging": true}}), [
		{"op": "add", "path": "/agents/support/capabilities/front", "value": {"granted_by": "bob"}},
		{"op": "add", "path": "/tools/crm~1read/capabilities/front", "value": true},
	])
	answer := grants.covering("support", 0) with input as read with data.tables as opened
	answer.id == "support#front"
}

test_any_agent_can_be_asked_about if {
	answer := grants.covering("triage", 0) with input as read with data.tables as testing.tables
	answer == none
	nobody := grants.covering("stranger", 0) with input as read with data.tables as testing.tables
	nobody == none
}
