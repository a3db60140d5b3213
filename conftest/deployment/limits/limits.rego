# METADATA
# title: Limits
# description: What takes all of a machine takes down what decides beside it.
# scope: package
package conftest.deployment.limits

import data.conftest.lib.workloads

# METADATA
# description: A container that may take all memory.
deny contains message if {
	some container in workloads.containers
	not container.specification.resources.limits.memory
	message := workloads.said(container, ["resources"], "deployment.limits", words(container.name, "limits.memory"))
}

# METADATA
# description: A container of which nobody knows what it needs.
deny contains message if {
	some container in workloads.containers
	not container.specification.resources.requests.cpu
	message := workloads.said(container, ["resources"], "deployment.limits", words(container.name, "requests.cpu"))
}

# METADATA
# description: A service that may take all memory or all processes.
deny contains message if {
	some service in workloads.services
	some limit in ["mem_limit", "pids_limit"]
	not service.specification[limit]
	message := workloads.said(service, [], "deployment.limits", words(service.name, limit))
}

words(name, limit) := [sprintf("%s has no %s", [name, limit]), "Say how much it may take"]
