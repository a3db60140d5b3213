# METADATA
# title: Host
# description: A container that shares the machine's network, processes or files is none.
# scope: package
package conftest.deployment.host

import data.conftest.lib.workloads

# METADATA
# description: A pod that shares something with its machine.
deny contains message if {
	some pod in workloads.pods
	some shared in ["hostNetwork", "hostPID", "hostIPC"]
	pod.specification[shared] == true
	message := workloads.said(pod, [shared], "deployment.host", words(pod.name, shared))
}

# METADATA
# description: A pod that mounts a path of its machine.
deny contains message if {
	some pod in workloads.pods
	some at, volume in pod.specification.volumes
	volume.hostPath
	message := workloads.said(pod, ["volumes", at], "deployment.host", words(pod.name, "a path of its machine"))
}

# METADATA
# description: A service that shares something with its machine.
deny contains message if {
	some service in workloads.services
	some shared in ["network_mode", "pid", "ipc", "userns_mode"]
	service.specification[shared] == "host"
	message := workloads.said(service, [shared], "deployment.host", words(service.name, shared))
}

# METADATA
# description: A service that can command the machine's containers.
deny contains message if {
	some service in workloads.services
	some at, volume in service.specification.volumes
	contains(sprintf("%v", [volume]), "docker.sock")
	message := workloads.said(service, ["volumes", at], "deployment.host", words(service.name, "the engine's socket"))
}

# METADATA
# description: A service that mounts all of its machine, or what rules it.
deny contains message if {
	some service in workloads.services
	some at, volume in service.specification.volumes
	_source(volume) in {"/", "/etc", "/proc", "/sys", "/root", "/var/run", "/run"}
	message := workloads.said(service, ["volumes", at], "deployment.host", words(service.name, _source(volume)))
}

_source(volume) := split(volume, ":")[0] if is_string(volume)

_source(volume) := volume.source if is_object(volume)

words(name, what) := [sprintf("%s shares %s with its machine", [name, what]), "Take it away; nothing here needs it"]
