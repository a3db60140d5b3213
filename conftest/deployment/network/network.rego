# METADATA
# title: Network
# description: Who may reach what is said; the rest is closed.
# scope: package
package conftest.deployment.network

import data.conftest.lib.workloads

# METADATA
# description: A pod whose namespace does not close what nobody opened.
deny contains message if {
	some pod in workloads.pods
	not pod.namespace in _closed
	message := workloads.said(
		pod,
		[],
		"deployment.network",
		[
			sprintf("everybody may reach %s, and it everybody", [pod.name]),
			"Add a NetworkPolicy for all pods of its namespace (podSelector: {}) that closes Ingress and Egress",
		],
	)
}

_closed contains object.get(found.object, ["metadata", "namespace"], "") if {
	some found in workloads.objects
	found.object.kind == "NetworkPolicy"
	found.object.spec.podSelector == {}
	{"Ingress", "Egress"} == {type | some type in found.object.spec.policyTypes}
	not found.object.spec.ingress
	not found.object.spec.egress
}
