# METADATA
# title: Writable
# description: What cannot be written cannot be replaced by somebody who got in.
# scope: package
package conftest.deployment.writable

import data.conftest.lib.workloads

# METADATA
# description: A container whose root file system can be written.
deny contains message if {
	some container in workloads.containers
	object.get(container.effective, "readOnlyRootFilesystem", false) != true
	message := workloads.said(container, ["securityContext"], "deployment.writable", words(container.name))
}

# METADATA
# description: A service whose root file system can be written.
deny contains message if {
	some service in workloads.services
	object.get(service.specification, "read_only", false) != true
	message := workloads.said(service, ["read_only"], "deployment.writable", words(service.name))
}

words(name) := [
	sprintf("the root file system of %s can be written", [name]),
	"Make it read-only, and mount what has to be written",
]
