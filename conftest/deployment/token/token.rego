# METADATA
# title: Token
# description: Nothing here talks to the cluster, so nothing here gets a key to it.
# scope: package
package conftest.deployment.token

import data.conftest.lib.workloads

# METADATA
# description: A pod that is given a token of the cluster.
deny contains message if {
	some pod in workloads.pods
	object.get(pod.specification, "automountServiceAccountToken", true) != false
	message := workloads.said(
		pod,
		["automountServiceAccountToken"],
		"deployment.token",
		[sprintf("%s is given a token of the cluster", [pod.name]), "Set automountServiceAccountToken to false"],
	)
}
