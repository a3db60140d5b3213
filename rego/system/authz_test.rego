package system.authz_test

import data.system.authz

test_the_two_entry_points_and_the_two_states_are_open if {
	every request in [
		{"method": "POST", "path": ["v1", "data", "aisecops", "decision", "decision"]},
		{"method": "POST", "path": ["v1", "data", "aisecops", "batch", "decisions"]},
		{"method": "GET", "path": ["health"]},
		{"method": "GET", "path": ["v1", "status"]},
	] {
		authz.allow with input as request
	}
}

test_everything_else_is_closed if {
	every request in [
		{"method": "PUT", "path": ["v1", "policies", "x"]},
		{"method": "PUT", "path": ["v1", "data", "aisecops", "decision", "decision"]},
		{"method": "GET", "path": ["v1", "data", "tables"]},
		{"method": "POST", "path": ["v1", "data"]},
		{"method": "POST", "path": ["v1", "data", "aisecops", "decision", "decision", "outcome"]},
		{"method": "POST", "path": ["v1", "query"]},
		{"method": "GET", "path": ["v1", "config"]},
		{"method": "PATCH", "path": ["v1", "data"]},
		{},
	] {
		not authz.allow with input as request
	}
}
