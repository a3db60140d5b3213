# METADATA
# title: Documents and tables for tests
# description: |
#   Builds whole, valid documents, so that a test says only what matters to it, and the small tables that go
#   with them. It is a test file: no bundle carries it.
# scope: package
package aisecops.testing

# METADATA
# description: A valid document of the support agent with the given steps.
document(steps) := {
	"schema_version": 1,
	"mode": "ENFORCE",
	"now": {"unix_seconds": 1767225600, "rfc3339": "2026-01-01T00:00:00Z"},
	"principal": {"id": "support", "authenticated_by": "mtls"},
	"environment": "production",
	"trace": {"id": "trace-1", "parent_id": ""},
	"session": {"id": "session-1"},
	"delegation": [],
	"request": {"known": true, "words": {}, "truncated": false},
	"plan": {"id": "plan-1", "hash": "hash-1", "intent": "help a customer", "steps": numbered(steps)},
	"sources": [prompt],
	"grounding": {"complete": true, "unsearched": [], "truncated": false},
	"history": [],
	"usage": {"session_calls": 0},
	"approvals": [],
}

# METADATA
# description: A valid document with one step.
one(tool, arguments) := document([step(tool, arguments)])

# METADATA
# description: A document with some of its top-level parts replaced.
but(changed, parts) := object.union(changed, parts)

# METADATA
# description: The same document, asked by an agent that is in no table.
from_stranger(asked) := but(asked, {"principal": {"id": "stranger", "authenticated_by": "mtls"}})

# METADATA
# description: A step without id; ids and indices are given by position (s1, s2, ...).
step(tool, arguments) := {
	"tool": tool,
	"server": split(tool, "/")[0],
	"name": split(tool, "/")[1],
	"capability": "",
	"arguments": arguments,
	"depends_on": [],
	"influenced_by": [],
	"values": [],
}

numbered(steps) := [object.union({"id": sprintf("s%d", [index + 1]), "index": index}, item) | some index, item in steps]

# METADATA
# description: What the user asked for.
prompt := source("u1", "user_prompt", "")

# METADATA
# description: A source; `tool` is the tool whose result it is, if it is one.
source(id, kind, tool) := {
	"id": id,
	"kind": kind,
	"name": "",
	"origin_uri": "",
	"digest": "",
	"digest_verified": true,
	"content_known": true,
	"size": 10,
	"declared_trust": "",
	"tool": tool,
	"step_id": "",
	"pointed_at": false,
	"given": false,
}

# METADATA
# description: A catalogue entry with cautious values wherever `parts` says nothing.
tool(parts) := object.union(
	{
		"effect": "read",
		"reach": "internal",
		"result_trust": "internal",
		"result_records": "all",
		"asked_by": {"work": true},
		"concerns": {},
		"arguments": {},
		"capabilities": {"desk": true},
		"allowed_hosts": {},
		"allowed_schemes": {"http": true, "https": true},
		"obligations": [],
		"allowed_in": {"production": true},
	},
	parts,
)

# METADATA
# description: What an approval takes, which is little wherever `parts` says nothing.
approval(parts) := object.union({"approvers_required": 1, "groups": {}, "expires_seconds": 900}, parts)

# METADATA
# description: An approval of the document's plan by some people, who saw what a rule demands for a step.
approved_by(people, rule, step) := {
	"id": "apr-1",
	"plan_hash": "hash-1",
	"approvers": people,
	"expires_at_seconds": 1767225601,
	"tool_digests": {},
	"revision": "r",
	"findings": [{"rule": rule, "step": step}],
}

# METADATA
# description: Tables with one agent, one capability and a tool of each effect.
tables := {
	"agents": {
		"support": agent({"desk": {"granted_by": "alice"}}),
		"triage": agent({}),
	},
	"capabilities": {
		"desk": {"risk": "low", "tools": {name: true | some name, _ in tools}},
		"other": {"risk": "low", "tools": {}},
	},
	"tools": tools,
	"servers": {
		"crm": server(["read", "update", "delete", "refund"]),
		"mail": server(["send"]),
		"web": server(["fetch"]),
		"shell": server(["run"]),
		"db": object.union(server(["query"]), {"environments": {"staging": true, "production": true}}),
	},
	"trust": {
		"agent_identity": "trusted",
		"user_prompt": "trusted",
		"system_prompt": "trusted",
		"skill": "internal",
		"memory": "internal",
		"retrieval_chunk": "external",
		"agent_message": "internal",
	},
	"approvals": {"other": approval({}), "tools": {}},
	"grants": {},
	"limits": {"agents": {}, "tools": {}},
	"edges": {},
	"lease": {"centre_percent": 100},
	"modes": {"observed": true, "rules": {}},
	"costs": {
		"tools": {},
		"other_tools": {"micro_usd": 0, "wall_milliseconds": 0},
		"models": {"small": {"input_per_million": 1000000, "output_per_million": 2000000}},
		"other_models": {"input_per_million": 9000000, "output_per_million": 9000000},
	},
	"people": {
		"bob": {"teams": {"sales": true}, "groups": {"treasury": true}},
		"Carol": {"teams": {"desk-team": true}, "groups": {"treasury": true}},
		"dave": {"teams": {}, "groups": {"releases": true}},
	},
	"person_names": {"bob": "bob", "bob@corp.example": "bob", "carol": "Carol", "dave": "dave"},
	"vocabulary": {
		"actions": {"please": {"work": true}, "send": {"post": true}},
		"arguments": {"title": "content", "id": "object", "to": "destination"},
	},
	"risk": {
		"approval_at_milli": 2000,
		"deny_at_milli": 4000,
		"past_milli": {effect: {"internal": base, "external": base * 2} | some effect, base in base_milli},
		"call_milli": {effect: {"internal": by_rank(base), "external": by_rank(base * 2)} |
			some effect, base in base_milli
		},
	},
}

# METADATA
# description: The tables with other grants of the support agent, each narrowed by what it says.
granting(grants) := json.patch(tables, [
	{"op": "replace", "path": "/grants", "value": {"support": grants}},
	{"op": "replace", "path": "/agents/support/capabilities", "value": {capability: {
		"granted_by": grant.granted_by,
		"narrowed": true,
	} |
		some capability, grant in grants
	}},
])

# METADATA
# description: The tables with limits of the support agent and its sessions, and of tools by name.
limiting(limits, of_tools) := object.union(
	json.patch(tables, [{"op": "replace", "path": "/limits", "value": {
		"agents": {"support": {
			"lasting": [each | some each in limits; each.charge.subject != "session"],
			"session": [each | some each in limits; each.charge.subject == "session"],
		}},
		"tools": of_tools,
	}}]),
	{
		"agents": {"support": {"limited": count(limits) > 0}},
		"tools": {tool: {"limited": true} | some tool, _ in of_tools},
	},
)

# METADATA
# description: A limit as the tables hold it.
limit(subject, id, metric, window, figure) := {
	"key": concat("", [subject, ":", id, "/", metric, "/", window]),
	"metric": metric,
	"ask_above": figure,
	"charge": {"subject": subject, "id": id, "metric": metric, "window": window, "limit": figure},
}

# METADATA
# description: A document of which the control plane counted what was used.
counted(document, counters) := using(document, {
	"session_calls": 0,
	"subjects": {"agent": "support", "session": "support#session-1", "team": "desk-team", "tenant": "default"},
	"counters": counters,
	"reported": {"input_tokens": 0, "output_tokens": 0, "models": {}},
})

using(document, usage) := json.patch(document, [{"op": "replace", "path": "/usage", "value": usage}])

# METADATA
# description: A counter.
counter(used, reserved) := {
	"used": used,
	"reserved": reserved,
	"overrun": 0,
	"frozen": false,
	"resets_at_seconds": 1767312000,
}

server(names) := {"tools": {name: true | some name in names}, "environments": {"production": true}}

agent(capabilities) := {
	"owner": "desk-team",
	"environments": {"production": true},
	"capabilities": capabilities,
	"max_delegation_depth": 2,
	"budget": {"session_calls": 20, "session_changes": 10, "items_per_step": 5},
	"mode": "enforce",
}

tools := {
	"crm/read": tool({"arguments": {"id": "object"}}),
	"crm/update": tool({"effect": "write", "arguments": {"id": "object", "note": "content"}}),
	"crm/delete": tool({
		"effect": "delete",
		"arguments": {"id": "object"},
		"approval": {"always": true, "amount_argument": "", "amount_over": 0},
	}),
	"crm/refund": tool({
		"effect": "spend",
		"arguments": {"customer": "destination", "amount": "amount"},
		"approval": {"always": false, "amount_argument": "amount", "amount_over": 100},
	}),
	"mail/send": tool({
		"effect": "send",
		"reach": "external",
		"arguments": {"to": "destination", "body": "content"},
		"obligations": [{"kind": "redact", "parameters": {"fields": ["card"]}}],
	}),
	"web/fetch": tool({"reach": "external", "result_trust": "external", "arguments": {"url": "destination"}}),
	"shell/run": tool({"effect": "execute", "arguments": {"command": "command"}}),
	"db/query": tool({"arguments": {"sql": "query"}, "allowed_in": {"staging": true, "production": true}}),
	"db/drop": tool({"effect": "delete", "arguments": {"table": "object"}, "allowed_in": {"production": false}}),
}

base_milli := {"read": 10, "write": 100, "send": 150, "delete": 300, "spend": 400, "execute": 500}

by_rank(milli) := [milli, milli, floor((milli * 3) / 2), milli * 2]
