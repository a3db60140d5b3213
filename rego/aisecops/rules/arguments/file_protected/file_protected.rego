# METADATA
# title: Protected file
# description: An argument names a file that holds credentials or the system's own state.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: high
#   owner: platform-security
#   remedy: Leave such files to people; ask for the fact that is needed instead.
#   mappings: [owasp-llm-2025:LLM02, owasp-agentic-2026:ASI03]
package aisecops.rules.arguments.file_protected

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	regex.match(pattern, lib.plan_text)
	some text in lib.texts
	text.role != "content"
	regex.match(pattern, text.value)
	finding := result.finding(rego.metadata.chain(), lib.steps[text.index].id, [lib.text_fact(text)])
}

# METADATA
# description: |
#   Where credentials and process state live by convention. One literal, so that it is compiled once.
pattern := `(?mi)(^|[\s/\\"'=:~@,(])(etc[/\\.]*[/\\](passwd|shadow|sudoers|gshadow)|proc[/\\](self|\d+)[/\\](environ|mem|maps|cmdline)|\.(ssh|gnupg|aws|kube|azure)([/\\]\S*)?|id_(rsa|dsa|ecdsa|ed25519)|\.(netrc|npmrc|pypirc|pgpass|git-credentials|vault-token)|\.docker[/\\]config\.json|\.env(\.[a-z]+)?|var[/\\]run[/\\](docker\.sock|secrets\S*)|run[/\\]secrets\S*)([\s/\\"';:,)]|$)`
