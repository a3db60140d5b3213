# METADATA
# title: Secrets
# description: What is written into a manifest is read by everybody who reads the repository.
# scope: package
package conftest.deployment.secrets

import data.conftest.lib.workloads

# METADATA
# description: A secret in the environment of a container.
deny contains message if {
	some container in workloads.containers
	some at, variable in container.specification.env
	_is_secret(variable.name, object.get(variable, "value", ""))
	message := workloads.said(container, ["env", at], "deployment.secrets", words(variable.name))
}

# METADATA
# description: A secret in the environment of a service.
deny contains message if {
	some service in workloads.services
	some name, value in service.specification.environment
	is_string(name)
	_is_secret(name, value)
	message := workloads.said(service, ["environment", name], "deployment.secrets", words(name))
}

# METADATA
# description: A secret in the environment of a service, written as a list.
deny contains message if {
	some service in workloads.services
	some at, line in service.specification.environment
	is_number(at)
	[name, value] := split(line, "=")
	_is_secret(name, value)
	message := workloads.said(service, ["environment", at], "deployment.secrets", words(name))
}

words(name) := [
	sprintf("%s is a secret in plain words", [name]),
	"Mount it as a file, from where secrets are kept",
]

# A path is where a secret lies, and ${NAME} is given by who starts it.
_is_secret(name, value) if {
	regex.match(`(?i)(token|secret|password|passphrase|private_key|api_key)$`, name)
	is_string(value)
	value != ""
	not startswith(value, "/")
	not startswith(value, "$")
}
