package aisecops.lib.approval_test

import data.aisecops.lib.approval
import data.aisecops.testing

held := testing.one("crm/delete", {"id": "c-1"})

rule := "approval.tool_requires_approval"

granted(people) := testing.approved_by(people, rule, "s1")

# METADATA
# description: What lifts the demand of a rule for a step, where approvals of the tool take what `parts` say.
lifting(document, parts, step) := id if {
	tables := object.union(testing.tables, {"approvals": {"tools": {"crm/delete": testing.approval(parts)}}})
	id := approval.lifting(rule, step) with input as document with data.tables as tables
}

offered(given) := testing.but(held, {"approvals": given})

test_an_approval_of_this_plan_by_somebody_in_time_lifts_what_they_saw if {
	lifting(offered([granted(["bob"])]), {}, "s1") == "apr-1"
}

test_an_approval_of_another_plan_too_late_or_of_another_demand_lifts_nothing if {
	every parts in [
		{"plan_hash": "hash-2"}, {"expires_at_seconds": 1767225600}, {"findings": []}, {"approvers": []},
		{"findings": [{"rule": rule, "step": "s2"}]}, {"findings": [{"rule": rule, "step": ""}]},
		{"findings": [{"rule": "provenance.value_unseen", "step": "s1"}]},
	] {
		not lifting(offered([object.union(granted(["bob"]), parts)]), {}, "s1")
	}
	not lifting(offered([json.remove(granted(["bob"]), ["/findings"])]), {}, "s1")
}

test_the_agent_those_above_it_and_their_owners_do_not_count if {
	boss := object.union(offered([granted(["boss"])]), {"delegation": [{"agent_id": "boss", "trace_id": ""}]})
	not lifting(boss, {}, "s1")
	every name in ["support", "SUPPORT", "desk-team", "Desk-Team", "carol", "Carol", "CAROL"] {
		not lifting(offered([granted([name])]), {}, "s1")
	}
	owned := object.union(offered([granted(["bob"])]), {"delegation": [{"agent_id": "triage", "trace_id": ""}]})
	lifting(owned, {}, "s1") == "apr-1"
	tables := object.union(testing.tables, {"agents": {"triage": {"owner": "sales"}}})
	not approval.lifting(rule, "s1") with input as owned with data.tables as tables
}

test_one_person_under_two_names_counts_once if {
	two := {"approvers_required": 2}
	lifting(offered([granted(["bob", "dave"])]), two, "s1") == "apr-1"
	not lifting(offered([granted(["bob", "bob"])]), two, "s1")
	not lifting(offered([granted(["bob", "BOB"])]), two, "s1")
	not lifting(offered([granted(["bob", "bob@corp.example"])]), two, "s1")
	not lifting(offered([granted(["bob"]), granted(["dave"])]), two, "s1")
	not lifting(offered([granted(["bob", "carol"])]), two, "s1")
}

test_only_people_of_the_groups_count_and_only_those_known if {
	treasury := {"groups": {"treasury": true, "vault": true}}
	lifting(offered([granted(["bob"])]), treasury, "s1") == "apr-1"
	every name in ["dave", "mallory", "", "treasury"] {
		not lifting(offered([granted([name])]), treasury, "s1")
	}
	lifting(offered([granted(["mallory"])]), {}, "s1") == "apr-1"
}

test_a_demand_about_the_whole_plan_takes_what_approvals_take_at_all if {
	whole := testing.but(held, {"approvals": [testing.approved_by(["bob"], rule, "")]})
	lifting(whole, {"approvers_required": 3}, "") == "apr-1"
	not lifting(whole, {"approvers_required": 1}, "s1")
}
