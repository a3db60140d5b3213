package aisecops.lib.scopes_test

import data.aisecops.lib.scopes

check(is) := {"places": [["a"]], "required": true, "says": "what is said", "is": is}

inside(is, value) if scopes.outside([check(is)], {"a": value}) == []

paths := {"paths": {"/srv/docs": true, "notes": true, "/srv/résumés": true, "readme.md": true}}

test_a_file_or_folder_and_what_is_below_it_is_inside if {
	every path in [
		"/srv/docs", "/srv/docs/", "/srv/docs/a.txt", "/srv/docs/a b/c(1).txt", "/srv/docs/.hidden/x", "/srv/résumés/ä.pdf",
		"notes/today", "readme.md", ["/srv/docs/a", "notes"], [["/srv/docs/a"], "notes"],
	] {
		inside(paths, path)
	}
}

test_a_path_that_can_be_read_as_another_one_is_outside if {
	every path in [
		"/srv", "/srv/docsx", "/srv/docs2/a", "/srv/Docs/a", "/SRV/docs/a", "srv/docs/a", "//srv/docs/a", "/srv//docs/a",
		"/srv/docs/..", "/srv/docs/../secret", "/srv/docs/./a", "/srv/docs/a/...", "/srv/docs/..\\secret", "\\srv\\docs",
		"/srv/docs/%2e%2e/secret", "/srv/docs/%2e%2e%2fsecret", "/srv/docs/a%00.txt", "/srv/docs/a\u0000.txt",
		"/srv/docs/a.", "/srv/docs/a ", "/srv/docs./a", "/srv/docs/a\n", "\n/srv/docs/a", " /srv/docs/a", "/srv/docs/ a",
		"/srv/docs/．．/secret", "/srv/docs/‥/secret", "/srv/docs∕..∕x", "/srv/docs/a::$DATA", "C:/srv/docs/a",
		"file:///srv/docs/a", "~/docs", "/proc/self/root/srv/docs/a", "/srv/docs/*", "/srv/docs/{a,../b}", "/srv/docs/$HOME",
		"/srv/docs/a\u202etxt", "/srv/docs/a;rm", "/", ".", "..", "notes/..", "notes/../..", "./notes", "notes,/etc/passwd", "/srv/docs/a,/etc/passwd", "/srv/docs/a:/etc", "/srv/docs/a /etc/passwd",
		"/srv/docs/a\u00ad",
	] {
		not inside(paths, path)
	}
}

test_what_is_no_text_is_outside_of_paths if {
	every value in [5, true, {}, {"path": "/srv/docs"}, [{"path": "/srv/docs"}], ["/srv/docs/a", 5], [null, "/srv/docs"]] {
		not inside(paths, value)
	}
}

domains := {"hosts": {"corp.example": true, "api.corp.example:8443": true, "xn--bcher-kva.example": true}, "under": {"eu.example": true}}

test_an_address_url_or_host_at_a_domain_is_inside if {
	every text in [
		"ann@corp.example", "Ann.Meyer+x@CORP.example", "https://corp.example", "https://corp.example/a?b=c#d",
		"HTTPS://Corp.Example/", "corp.example", "https://api.corp.example:8443/v1", "https://xn--bcher-kva.example/",
		"https://files.eu.example/x", "a@b.c.eu.example", "ann@corp.example, bo@corp.example", "ann@corp.example;bo@corp.example",
		["ann@corp.example", "https://corp.example/"],
	] {
		inside(domains, text)
	}
}

test_what_only_looks_like_a_domain_is_outside if {
	every text in [
		"ann@evil-corp.example", "ann@corp.example.evil.test", "ann@corp.exampl", "ann@xcorp.example", "https://evilcorp.example/",
		"https://corp.example@evil.test/", "https://corp.example:x@evil.test/", "https://evil.test/corp.example",
		"https://evil.test?corp.example", "https://evil.test#corp.example", "https://corp.example\\@evil.test",
		"https://corp.example\\.evil.test/", "https://corp.example#@evil.test/", "https://evil.test\\corp.example",
		"https://corp.example./", "ann@corp.example.", "https://corp.example:8443/", "https://api.corp.example/",
		"https://api.corp.example:84430/", "https://corp.example:443/", "https:corp.example", "//corp.example/",
		"https://[::1]/", "https://eu.example/", "a@eu.example", "https://xeu.example", "https://.eu.example/",
		"https://bücher.example/", "https://xn--bcher-kvb.example/", "https://ＣＯＲＰ.example/", "ann@corp。example",
		"ann@corp.example\nBcc: eve@evil.test", "ann@corp.example,eve@evil.test", "ann@corp.example eve@evil.test",
		"https://corp.example/,https://evil.test/", "https://corp.example/;evil.test", "Ann <ann@corp.example>",
		"\"eve@evil.test\" <ann@corp.example>", "ann%evil.test@corp.example", "evil.test!ann@corp.example",
		"ann@evil.test@corp.example", "@corp.example", "ann@", "javascript://corp.example/%0aalert(1)\u0000", "",
		"mailto:ann@corp.example", "https://corp.example%2f.evil.test", "https://corp.example%00.evil.test",
		"\u212aorp.example", ["ann@corp.example", "eve@evil.test"], [["ann@corp.example"], ["eve@evil.test"]],
		[{"address": "ann@corp.example"}], {"corp.example": 1}, "-corp.example", 1, true,
	] {
		not inside(domains, text)
	}
}

test_a_letter_that_folds_to_an_ascii_one_is_another_domain if {
	not inside({"hosts": {"bank.example": true}, "under": {}}, "ban\u212a.example")
	not inside({"hosts": {"bank.example": true}, "under": {}}, "https://ban\u212a.example/")
}

recipients := {"recipients": {"ann@corp.example": true, "#general": true, "Team Lead": true}, "hosts": {}, "under": {}}

test_each_recipient_of_a_list_or_text_must_be_listed if {
	every value in ["ann@corp.example", "#general", "Team Lead", ["#general", "Team Lead"], "ann@corp.example; #general"] {
		inside(recipients, value)
	}
	every value in [
		"Ann@corp.example", "ann@corp.example,#random", ["#general", "#random"], "#", "", [], [""], "ann@corp.example.",
		"team lead", {"to": "#general"}, ["#general", {"to": "#random"}], "ann@corp.example\r\nbcc:x@evil.test", ", ;",
	] {
		not inside(recipients, value)
	}
}

amounts := {"at_least": 0, "at_most": 500}

test_an_amount_is_a_number_by_itself_within_its_bounds if {
	every value in [0, 1, 499.99, 500, 5e2] {
		inside(amounts, value)
	}
	every value in [-1, -0.01, 500.01, 501, 1e300, "5", "500", "", null, true, [], [5], [400, 400], {"amount": 5}] {
		not inside(amounts, value)
	}
}

values := {"texts": {"EUR": true}, "others": [7, true]}

test_a_value_is_exactly_one_of_those_listed if {
	every value in ["EUR", 7, true, ["EUR", "EUR"]] {
		inside(values, value)
	}
	every value in ["eur", "EUR ", "EUR,USD", "7", 7.5, false, "true", ["EUR", "USD"], {"EUR": 1}] {
		not inside(values, value)
	}
}

test_an_argument_that_is_missing_is_outside_unless_it_is_optional if {
	every arguments in [{}, {"a": null}, {"a": ""}, {"a": []}, {"a": [[]]}, {"a": ["", null]}, {"A": "EUR"}] {
		scopes.outside([check(values)], arguments) == [{"path": ["a"], "says": "what is said", "value": null}]
		scopes.outside([object.union(check(values), {"required": false})], arguments) == []
	}
}

test_every_place_of_a_role_must_be_inside_and_one_must_be_there if {
	role := object.union(check(recipients), {"places": [["to"], ["cc"]]})
	scopes.outside([role], {"cc": "#general"}) == []
	scopes.outside([role], {"to": "#general", "cc": ["#general", "#random"]}) == [{
		"path": ["cc", 1],
		"says": "what is said",
		"value": "#random",
	}]
	scopes.outside([role], {"bcc": "#random"}) == [{"path": ["to"], "says": "what is said", "value": null}]
}

test_a_place_may_lie_inside_an_argument if {
	nested := object.union(check(paths), {"places": [["options", "path"]]})
	scopes.outside([nested], {"options": {"path": "notes"}}) == []
	scopes.outside([nested], {"options": {"path": "/etc/passwd"}}) == [{
		"path": ["options", "path"],
		"says": "what is said",
		"value": "/etc/passwd",
	}]
	every arguments in [{"options": {}}, {"options": "notes"}, {"options": [{"path": "notes"}]}, {"path": "notes"}] {
		count(scopes.outside([nested], arguments)) == 1
	}
}

test_a_long_value_is_told_shortened_and_an_object_empty if {
	long := concat("", ["x" | some _ in numbers.range(1, 300)])
	count(scopes.outside([check(values)], {"a": long})[0].value) == 256
	scopes.outside([check(values)], {"a": {"k": long}})[0].value == {}
}
