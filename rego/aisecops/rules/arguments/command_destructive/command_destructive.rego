# METADATA
# title: Destructive command
# description: A command or query destroys data, rewrites published history, opens permissions to all, or runs what it downloads.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: deny
#   severity: critical
#   owner: platform-security
#   remedy: Use a narrower command, or a tool made for the purpose that people can approve.
#   mappings: [owasp-llm-2025:LLM05, owasp-agentic-2026:ASI05]
package aisecops.rules.arguments.command_destructive

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {
	count(commands) > 0
	suspicious
	some text in commands
	some pattern in patterns
	regex.match(pattern, text.value)
	finding := result.finding(rego.metadata.chain(), lib.steps[text.index].id, [lib.text_fact(text)])
}

findings contains finding if {
	count(commands) > 0
	suspicious
	some joined in lib.steps
	not alone[joined.index]
	line := written_out(joined.index)
	some pattern in patterns
	regex.match(pattern, line)
	fact := lib.step_fact(joined, "/arguments", substring(line, 0, 256))
	finding := result.finding(rego.metadata.chain(), joined.id, [fact])
}

# METADATA
# description: |
#   Whether anything that is executed has a word without which none of the patterns matches. Most plans stop at
#   this one match, so a new pattern's first word belongs here too.
suspicious if regex.match(words, spoken)

suspicious if {
	regex.match(`['"\\$]|/\*`, spoken)
	some joined in lib.steps
	regex.match(words, written_out(joined.index))
}

# METADATA
# description: All texts that something will execute in one.
spoken := concat("\n", array.concat([text.value | some text in commands], [""]))

words := `(?i)\b((rm|dd|del|rd|rmdir|find|git|init|kill|format)\s|mkfs|wipefs|shred|fdisk|drop|truncate|delete|chmod|chown|curl|wget|fetch|base64|kubectl|terraform|helm|docker|aws|shutdown|reboot|poweroff|crontab|iptables|remove-item)|/dev/|:\(|--(force|mirror)`

# METADATA
# description: The steps that have a text which destroys all by itself.
alone[text.index] := true if {
	some text in commands
	some pattern in patterns
	regex.match(pattern, text.value)
}

# METADATA
# description: |
#   What one call executes as one line, the command first: a command may be given word by word, its arguments
#   apart, and with quotes, escapes, separators and comments that whatever executes it does not see.
written_out(index) := regex.replace(line, `['"\\]|\s?/\*[^*]*\*+/`, "") if {
	parts := array.concat(
		[text.value | some text in commands; text.index == index; text.role == "command"],
		[text.value | some text in commands; text.index == index; text.role != "command"],
	)
	count(parts) > 0
	line := regex.replace(concat(" ", parts), `\$\{?IFS\}?`, " ")
}

# METADATA
# description: The texts that something will execute, which is everything but content where the tool executes.
commands contains text if {
	some text in lib.texts
	text.role in {"command", "query"}
}

commands contains text if {
	some joined in lib.changing
	joined.entry.effect == "execute"
	some text in lib.texts
	text.index == joined.index
	text.role != "content"
}

# METADATA
# description: What destroys, one pattern a kind.
patterns := [
	`(?i)\brm\s+(\S+\s+)*(-[a-z]*(r[a-z]*f|f[a-z]*r)|--recursive|--no-preserve-root)`,
	`(?i)\brm\s+(\S+\s+)*(-[a-z]*r[a-z]*\s+(-\S+\s+)*--?[a-z]*f|--?[a-z]*f[a-z]*\s+(-\S+\s+)*-[a-z]*r)`,
	`(?i)\brm\s+(-\S+\s+)*-[a-z]*r[a-z]*\s+(\S+\s+)*(/|~|\$HOME|\*|\.)[/*]*(\s|$)`,
	`(?i)\b(mkfs(\.\w+)?|wipefs|shred|fdisk)\s|\bdd\s+(\S+\s+)*of=/dev/|>\s*/dev/(sd|nvme|vd|hd|disk)`,
	`(?i)\bfind\s.*\s-delete\b|\bfind\s.*-exec\s+rm\b|:\(\)\s*\{\s*:\s*\|`,
	`(?i)\bdrop\s+(table|database|schema|index|view|user|role|keyspace)\b|\btruncate\s+(table\s+)?[\w\-]|\bdrop(table|database)\b`,
	`(?i)\bdelete\s+from\s+[\w."]+\s*(;|--|$)|\bdelete\s+from\s+.*\bwhere\s+(1\s*=\s*1|true)\b`,
	`(?i)\bgit\s+push\s+(\S+\s+)*(--force|--mirror|--delete|-[a-z]*f\b|\+\S+|:\S+)|\bgit\s+filter-(branch|repo)\b`,
	`(?i)^(\S+\s+)*(--force|--mirror)\b`,
	`(?i)\bgit\s+reset\s+(\S+\s+)*--hard|\bgit\s+clean\s+(\S+\s+)*-[a-z]*f`,
	`(?i)\bchmod\s+(\S+\s+)*(0?777|a\+rwx|ugo\+rwx|o\+w)\b|\bchown\s+(-\S+\s+)*\S+\s+/(\s|$)`,
	`(?i)\b(curl|wget|fetch)\b[^\n;]*\|\s*(sudo\s+)?(\S*/)?((ba|z|da|k|c)?sh|python[0-9.]*|perl|ruby|node|php)\b`,
	`(?i)\b((ba|z|da|k)?sh|source|eval|python[0-9.]*)\b[^\n;]*(<\(|\$\(|\x60)\s*(curl|wget)\b`,
	`(?i)\bbase64\s+(-d|-D|--decode)[^\n;]*\|\s*(sudo\s+)?((ba|z|da)?sh|python[0-9.]*)\b|\beval\b.*\bbase64\s+(-d|-D|--decode)`,
	`(?i)\bkubectl\s+delete\s+(ns|namespace|pv|pvc|crd|all|\S+\s+--all)|\bterraform\s+destroy\b|\bhelm\s+uninstall\b`,
	`(?i)\bdocker\s+(system|volume)\s+prune\b|\baws\s+s3\s+(rb|rm)\s.*(--force|--recursive)`,
	`(?i)\b(shutdown|reboot|poweroff|init\s+0)\b|\bkill\s+-(9|KILL)\s+(-1|1)\b|\bcrontab\s+-r\b|\biptables\s+-F`,
	`(?i)\bformat\s+[a-z]:|\b(del|rd|rmdir)\s+(/\w\s+)*/s\b|\bRemove-Item\b.*-Recurse`,
]
