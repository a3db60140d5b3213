# METADATA
# title: Image
# description: What was looked at is what runs, today and after a restart.
# scope: package
package conftest.deployment.image

import data.conftest.lib.workloads

# METADATA
# description: An image that may be another one tomorrow.
deny contains message if {
	some found in workloads.images
	not _says_which(found.image)
	message := workloads.said(
		found,
		[],
		"deployment.image",
		[
			sprintf("%s runs %s, which may be another image tomorrow", [found.name, _shown(found.image)]),
			"Name it by digest (@sha256:...), or at least by a version",
		],
	)
}

_says_which(image) if regex.match(`@sha256:[0-9a-f]{64}$`, image)

_says_which(image) if {
	version := regex.find_n(`:[^:/@]+$`, image, 1)[0]
	regex.match(`^:v?[0-9]+\.[0-9]+`, version)
}

# Whoever starts it has to say which image; compose does not start without.
_says_which(image) if regex.match(`^\$\{[A-Z_]+:\?[^}]+\}$`, image)

_shown(image) := image if image != ""

_shown("") := "no image that is named"
