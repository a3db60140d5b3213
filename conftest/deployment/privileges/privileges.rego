# METADATA
# title: Privileges
# description: Nothing here needs a right that an ordinary process lacks.
# scope: package
package conftest.deployment.privileges

import data.conftest.lib.workloads

# METADATA
# description: A container with rights of its own, or that may get some.
deny contains message if {
	some container in workloads.containers
	some kept in _kept(container.effective)
	message := workloads.said(container, ["securityContext"], "deployment.privileges", words(container.name, kept))
}

# METADATA
# description: A service with rights of its own, or that may get some.
deny contains message if {
	some service in workloads.services
	some kept in _kept_by(service.specification)
	message := workloads.said(service, [], "deployment.privileges", words(service.name, kept))
}

words(name, kept) := [sprintf("%s %s", [name, kept[0]]), kept[1]]

_kept(context) := ((({["is privileged", "Take privileged away"] | context.privileged == true} | {["may get rights that it does not have", "Set allowPrivilegeEscalation to false"] |
	object.get(context, "allowPrivilegeEscalation", true) != false
}) | {["keeps capabilities", "Drop them: capabilities.drop [ALL]"] |
	not "ALL" in object.get(context, ["capabilities", "drop"], [])
}) | {[sprintf("adds the capability %s", [added]), "Take it away; a port above 1024 needs none"] |
	some added in object.get(context, ["capabilities", "add"], [])
}) | {["may make every system call", "Set seccompProfile.type to RuntimeDefault"] |
	not object.get(context, ["seccompProfile", "type"], "") in {"RuntimeDefault", "Localhost"}
}

_kept_by(service) := (({["is privileged", "Take privileged away"] | service.privileged == true} | {["may get rights that it does not have", "Write security_opt: [\"no-new-privileges:true\"]"] |
	not "no-new-privileges:true" in object.get(service, "security_opt", [])
}) | {["keeps capabilities", "Write cap_drop: [ALL]"] | not "ALL" in object.get(service, "cap_drop", [])}) | {[sprintf("adds the capability %s", [added]), "Take it away; a port above 1024 needs none"] |
	some added in object.get(service, "cap_add", [])
}
