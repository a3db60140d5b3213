# METADATA
# title: Tables
# description: What is edited, by the name of its file, and how a condition says that something is wrong.
# scope: package
package conftest.lib.tables

# METADATA
# description: The content of a file by its path, an empty object where there is none.
file(path) := array.concat([item.contents | some item in input; item.path == path], [{}])[0]

# METADATA
# description: The content of a table by its name.
table(name) := found if {
	some suffix in {"yaml", "yml", "json"}
	some item in input
	item.path == sprintf("data/%s.%s", [name, suffix])
	found := item.contents
}

# METADATA
# description: The path of a table's file.
path(name) := found if {
	some suffix in {"yaml", "yml", "json"}
	found := sprintf("data/%s.%s", [name, suffix])
	some item in input
	item.path == found
}

# METADATA
# description: The day on which it is checked, as YYYY-MM-DD.
today := file("check.yaml").today

# METADATA
# description: |
#   A message. `place` is the path and the keys of what is wrong; `about` is its code, its subject, what is wrong, and
#   what to do.
said(place, about) := {
	"path": place[0],
	"keys": array.slice(place, 1, count(place)),
	"code": about[0],
	"subject": about[1],
	"msg": about[2],
	"hint": about[3],
}
