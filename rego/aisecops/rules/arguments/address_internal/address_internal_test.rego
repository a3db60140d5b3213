package aisecops.rules.arguments.address_internal_test

import data.aisecops.rules.arguments.address_internal
import data.aisecops.testing

findings(document) := found if {
	found := address_internal.findings with input as document with data.tables as testing.tables
}

finding(step, facts) := {
	"rule": "arguments.address_internal",
	"title": "Internal address",
	"message": "An argument makes the tool reach the inside of the network, hides its address, or uses a scheme that it may not.",
	"effect": "deny",
	"severity": "critical",
	"remedy": "Name a public host plainly over http or https, or allow the host for this tool in data/tools.yaml.",
	"step": step,
	"facts": facts,
}

fetch(url) := testing.one("web/fetch", {"url": url})

test_every_form_of_an_inside_address_is_found if {
	every url in [
		"http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/",
		"http://0x7f.0.0.1/", "http://10.2.3.4:8080/x", "http://172.16.0.9/", "http://192.168.1.1", "http://100.64.0.1/",
		"http://169.254.169.254/latest/meta-data/", "http://0.0.0.0/", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
		"http://[0:0:0:0:0:0:0:1]:80/", "http://[fe80::1%25eth0]/", "http://[fd00:ec2::254]/", "http://[64:ff9b::7f00:1]/",
		"http://localhost:3000", "http://LOCALHOST./", "http://redis:6379/", "http://metadata.google.internal/",
		"http://127.0.0.1.nip.io/", "http://db.svc.cluster.local/", "http://good.example@127.0.0.1/",
		"http://good.example@evil.example/", "http://evil.example\\@127.0.0.1/", "http:127.0.0.1/", "http:\\\\10.0.0.1\\x",
		"HTTPS:/192.168.0.1", "http://%31%32%37.0.0.1/", "http://127\u30020\u30020\u30021/", "http://\u2460\u2461\u2466.0.0.1/",
		"file:///etc/hosts", "gopher://x.example/_x", "ftp://files.example/x", "dict://x.example:11211/", "//127.0.0.1/x",
		"127.0.0.1", "localhost:9200/_cat", "[::1]:80", "10.0.0.5/admin", "metadata.google.internal",
		"jar:http://10.0.0.1!/x", "http://consul.service.consul/", "http://168.63.129.16/machine",
	] {
		findings(fetch(url)) == {finding("s1", [{"pointer": "/plan/steps/0/arguments/url", "value": url}])}
	}
}

test_a_host_in_an_argument_that_the_catalogue_does_not_know_is_found if {
	every arguments in [{"uri": "10.0.0.5/x"}, {"url": "https://example.com", "proxy": "127.0.0.1:80"}, {"x": {"10.0.0.5/x": 1}}] {
		count(findings(testing.one("web/fetch", arguments))) == 1
	}
}

test_public_addresses_are_not_found if {
	every url in [
		"http://example.com/", "https://8.8.8.8/dns", "www.example.com/page", "https://m\u00fcnchen.example/", "example.com:8443",
		"https://example.com/?next=/local", "https://example.com:8443/a@b", "https://[2606:4700::1111]/", "172.15.0.1",
		"https://localhost.example.com/", "https://internal.example.com/x", "Alice", "12345", "general", "note: see v1.2",
	] {
		findings(fetch(url)) == set()
	}
}

test_an_address_in_a_command_is_found if {
	count(findings(testing.one("shell/run", {"command": "curl -s http://169.254.169.254/token"}))) == 1
}

test_text_that_is_passed_on_and_mail_addresses_are_not_found if {
	findings(testing.one("mail/send", {"to": "a@corp.internal", "body": "see http://10.0.0.1/"})) == set()
}

test_an_allowed_host_or_scheme_of_the_tool_is_not_found if {
	entry := testing.tool({"reach": "external", "allowed_hosts": {"vault.internal": true}, "allowed_schemes": {"ssh": true}})
	asked := testing.one("git/push", {"remote": "ssh://git@vault.internal:22/x"})
	address_internal.findings == set() with input as asked
		with data.tables as object.union(testing.tables, {"tools": {"git/push": entry}})
}

test_an_unknown_agent_is_told_too if {
	count(findings(testing.from_stranger(fetch("http://127.0.0.1/")))) == 1
}
