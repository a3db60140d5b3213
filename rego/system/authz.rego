# METADATA
# title: Engine authorization
# description: |
#   What may be asked of the engine over its socket: the two entry points, health and status. Everything else,
#   above all changing policy or data, is refused.
# scope: package
package system.authz

default allow := false

allow if {
	input.method == "POST"
	input.path == ["v1", "data", "aisecops", "decision", "decision"]
}

allow if {
	input.method == "POST"
	input.path == ["v1", "data", "aisecops", "batch", "decisions"]
}

allow if {
	input.method == "GET"
	input.path == ["health"]
}

allow if {
	input.method == "GET"
	input.path == ["v1", "status"]
}
