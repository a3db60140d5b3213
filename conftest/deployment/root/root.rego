# METADATA
# title: Root
# description: What runs as root has the machine as soon as it leaves its container.
# scope: package
package conftest.deployment.root

import data.conftest.lib.workloads

# METADATA
# description: A container that may run as root.
deny contains message if {
	some container in workloads.containers
	not _other_user(container.effective)
	message := workloads.said(container, ["securityContext"], "deployment.root", words(container.name))
}

# METADATA
# description: A service that may run as root.
deny contains message if {
	some service in workloads.services
	user := split(sprintf("%v", [object.get(service.specification, "user", "root")]), ":")[0]
	user in {"root", "0", ""}
	message := workloads.said(service, ["user"], "deployment.root", words(service.name))
}

words(name) := [
	sprintf("%s may run as root", [name]),
	"Give it a user of its own: runAsNonRoot and runAsUser in Kubernetes, user in compose",
]

_other_user(context) if {
	context.runAsNonRoot == true
	object.get(context, "runAsUser", 1) != 0
}
