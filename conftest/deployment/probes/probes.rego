# METADATA
# title: Probes
# description: Nobody is sent to what cannot decide, and what hangs is started anew.
# scope: package
package conftest.deployment.probes

import data.conftest.lib.workloads

# METADATA
# description: A container that stays and is never asked how it is.
deny contains message if {
	some container in workloads.containers
	container.stays
	some probe in ["readinessProbe", "livenessProbe"]
	not container.specification[probe]
	message := workloads.said(
		container,
		[],
		"deployment.probes",
		[
			sprintf("%s has no %s", [container.name, probe]),
			"Run 'aisecops health' for readiness and 'aisecops health --alive' for liveness",
		],
	)
}
