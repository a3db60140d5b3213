# METADATA
# title: Tools
# description: The catalogue says of dangerous tools what the rules about arguments need to know.
# scope: package
package conftest.tools

import data.conftest.lib.tables

tools := tables.table("tools")

# METADATA
# description: Where something goes must be known, or no rule can judge where it came from.
deny contains message if {
	some tool, entry in tools
	entry.effect in {"send", "spend"}
	not "destination" in {role | some role in object.get(entry, "arguments", {})}
	message := tables.said(
		[tables.path("tools"), tool],
		[
			"tools.destination",
			tool,
			sprintf("its effect is %s, and no argument of it is a destination", [entry.effect]),
			"Say under arguments which one names who gets it: {to: destination}",
		],
	)
}

# METADATA
# description: Addresses are of the network, not of the machine.
deny contains message if {
	some tool, entry in tools
	some scheme in entry.allowed_schemes
	not lower(scheme) in {"http", "https", "ssh", "mailto"}
	message := tables.said(
		[tables.path("tools"), tool, "allowed_schemes"],
		[
			"tools.scheme",
			tool,
			sprintf("it may be given %s: addresses, which reach into the machine", [scheme]),
			"Leave it out; https is enough for most",
		],
	)
}

# METADATA
# description: The address at which machines tell their credentials is nobody's to reach.
deny contains message if {
	some tool, entry in tools
	some host in entry.allowed_hosts
	lower(host) in {"169.254.169.254", "metadata.google.internal", "metadata", "localhost", "127.0.0.1", "*"}
	message := tables.said(
		[tables.path("tools"), tool, "allowed_hosts"],
		[
			"tools.host",
			tool,
			sprintf("it may reach %s, where machines tell their credentials", [host]),
			"Name the service that it is for",
		],
	)
}

# METADATA
# description: A name that says what a tool does outweighs what the table says.
deny contains message if {
	some tool, entry in tools
	name := lower(split(tool, "/")[1])
	some word, effects in meanings
	word in {part | some part in split(replace(name, "-", "_"), "_")}
	not object.get(entry, "effect", "execute") in effects
	message := tables.said(
		[tables.path("tools"), tool, "effect"],
		[
			"tools.effect",
			tool,
			sprintf("its name says '%s', and its effect is %s", [word, entry.effect]),
			"Give it the effect that it has, or leave the effect out",
		],
	)
}

meanings := {
	"delete": {"delete", "execute"},
	"remove": {"delete", "write", "execute"},
	"send": {"send", "execute"},
	"transfer": {"spend", "execute"},
	"refund": {"spend", "execute"},
	"pay": {"spend", "execute"},
	"run": {"execute"},
	"exec": {"execute"},
	"execute": {"execute"},
	"install": {"execute"},
}
