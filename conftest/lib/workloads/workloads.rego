# METADATA
# title: Workloads
# description: What runs, by Kubernetes manifests and compose files alike, and where each of it stands.
# scope: package
package conftest.lib.workloads

import data.conftest.lib.tables

# METADATA
# description: Every Kubernetes object, with the file that it stands in.
objects contains {"path": item.path, "object": item.contents} if {
	some item in input
	is_object(item.contents)
	item.contents.apiVersion
	item.contents.kind
}

# METADATA
# description: Every pod that some object runs, with the keys under which its specification stands.
pods contains pod if {
	some found in objects
	some keys in [["spec"], ["spec", "template", "spec"], ["spec", "jobTemplate", "spec", "template", "spec"]]
	specification := object.get(found.object, keys, null)
	is_array(specification.containers)
	pod := {
		"path": found.path,
		"keys": keys,
		"name": found.object.metadata.name,
		"namespace": object.get(found.object, ["metadata", "namespace"], ""),
		"specification": specification,
	}
}

# METADATA
# description: |
#   Every container of a pod. `keys` lead to it, `effective` is its security context over that of its pod.
containers contains container if {
	some pod in pods
	some list in ["initContainers", "containers"]
	some at, specification in object.get(pod.specification, list, [])
	container := {
		"path": pod.path,
		"keys": array.concat(pod.keys, [list, at]),
		"name": specification.name,
		"stays": list == "containers",
		"specification": specification,
		"effective": object.union(
			object.get(pod.specification, "securityContext", {}),
			object.get(specification, "securityContext", {}),
		),
	}
}

# METADATA
# description: Every service of a compose file.
services contains {"path": item.path, "keys": ["services", name], "name": name, "specification": specification} if {
	some item in input
	is_object(item.contents)
	not item.contents.apiVersion
	some name, specification in item.contents.services
}

# METADATA
# description: Every image that something runs.
images contains {"path": each.path, "keys": array.concat(each.keys, ["image"]), "name": each.name, "image": image} if {
	some each in (containers | services)
	image := object.get(each.specification, "image", "")
}

# METADATA
# description: A message about `each`, at the key `last` of it where there is one; `words` are the rest of it.
said(each, last, code, words) := tables.said(
	array.concat([each.path], array.concat(each.keys, last)),
	[code, each.name, words[0], words[1]],
)
