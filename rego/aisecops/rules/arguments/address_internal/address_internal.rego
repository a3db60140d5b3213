# METADATA
# title: Internal address
# description: An argument makes the tool reach the inside of the network, hides its address, or uses a scheme that it may not.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: critical
#   owner: platform-security
#   remedy: Name a public host plainly over http or https, or allow the host for this tool in data/tools.yaml.
#   mappings: [owasp-llm-2025:LLM05, owasp-agentic-2026:ASI02]
package aisecops.rules.arguments.address_internal

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	linked
	some text in lib.texts
	text.role != "content"
	joined := lib.steps[text.index]
	some found in regex.find_all_string_submatch_n(url, lower(text.value), -1)
	forbidden(scheme_of(found), found[4], joined.entry)
	finding := result.finding(rego.metadata.chain(), joined.id, [lib.text_fact(text)])
}

findings contains finding if {
	some text in lib.texts
	text.role in {"destination", ""}
	joined := lib.steps[text.index]
	joined.entry.reach == "external"
	not contains(text.value, "@")
	some found in regex.find_all_string_submatch_n(bare, lower(text.value), 1)
	forbidden("http", found[1], joined.entry)
	finding := result.finding(rego.metadata.chain(), joined.id, [lib.text_fact(text)])
}

# METADATA
# description: Whether any argument can hold a URL.
linked if contains(lib.plan_text, "//")

linked if {
	contains(lib.plan_text, ":")
	regex.match(`(?i)(https?|ftp|wss?|file):\S`, lib.plan_text)
}

# METADATA
# description: A URL's scheme and authority. Browsers and libraries read http:host and http:\\host as URLs too.
url := `(?:(https?|ftp|wss?):[/\\]*|(file):[/\\]+|([a-z][a-z0-9+.\-]+)://|(?:^|[\s"'=(])//)([^/?#!\s"'<>|;,)]+)`

# METADATA
# description: The scheme that a match of `url` names; without one it is the page's own.
scheme_of(found) := named if {
	named := concat("", [found[1], found[2], found[3]])
	named != ""
}

default scheme_of(_) := "https"

# METADATA
# description: A host without a scheme; a word without a dot is a name, not an address.
bare := `^[/\\]*((?:localhost|\[[0-9a-f:.%]+\]|[^\s/\\?#:@]+\.[^\s/?#:@]+)(?::\d+)?)(?:[/\\?#]|$)`

# METADATA
# description: Whether a tool may not be given the address.
forbidden(scheme, _, entry) if not entry.allowed_schemes[scheme]

forbidden(_, authority, _) if regex.match(obscured, authority)

forbidden(scheme, authority, _) if {
	startswith(scheme, "http")
	contains(authority, "@")
}

forbidden(_, authority, entry) if {
	host := host_of(authority)
	inside(host)
	not entry.allowed_hosts[host]
}

# METADATA
# description: The host of an authority, without user, port and final dot.
host_of(authority) := trim_right(regex.replace(regex.replace(authority, `^.*@`, ""), `:\d*$`, ""), ".")

# METADATA
# description: Whether a host is inside, or an address that is not written plainly.
inside(host) if {
	not contains(host, ".")
	not startswith(host, "[")
}

inside(host) if regex.match(inside_name, host)

inside(host) if {
	regex.match(numeric, host)
	not regex.match(plain_quad, host)
}

inside(host) if regex.match(inside_quad, host)

inside(host) if regex.match(inside_six, host)

# METADATA
# description: Characters that make an authority look like another one.
obscured := `[\\%\x{00AD}\x{200B}-\x{200F}\x{2460}-\x{24FF}\x{3002}\x{FE52}\x{FF00}-\x{FFEF}]`

inside_name := `(^|\.)(localhost|localdomain|local|internal|intranet|lan|corp|home\.arpa|svc|consul|in-addr\.arpa)$|\.(nip|sslip|xip)\.io$|(^|\.)(localtest\.me|lvh\.me|vcap\.me|lacolhost\.com)$`

numeric := `^(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+))*$`

plain_quad := `^(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}$`

inside_quad := `^(0|10|127|22[4-9]|2[3-5]\d)\.\d+\.\d+\.\d+$|^(169\.254|192\.168)\.\d+\.\d+$|^192\.0\.[02]\.\d+$|^168\.63\.129\.16$|^172\.(1[6-9]|2\d|3[01])\.\d+\.\d+$|^100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+$|^198\.1[89]\.\d+\.\d+$`

# METADATA
# description: ::/8 with loopback and mapped addresses, translation prefixes, local, link-local and multicast ones.
inside_six := `^\[(::|00?[0-9a-f]{0,2}:|[0-9a-f]{1,2}:|64:ff9b:|2002:|2001:0{0,4}:|f[cdf]|fe[89a-f])`
