from __future__ import annotations

from aisecops_server.domain.policy.policy_meaning import METADATA, ChangeKind, Clause, PolicyText, Row, changes


def clause(package: str, name: str, said: str, line: int = 1, file: str = "rego/a.rego") -> Clause:
    return Clause(package, name, said, file, line, f"text of {said}")


def row(path: str, value: object, line: int = 1) -> Row:
    return Row(tuple(path.split("/")), value, f"data/{path.partition('/')[0]}.yaml", line)


def text(*parts: Clause | Row) -> PolicyText:
    clauses = tuple(part for part in parts if isinstance(part, Clause))
    return PolicyText(clauses, {}, tuple(part for part in parts if isinstance(part, Row)))


def told(before: PolicyText, after: PolicyText, *, tables_differ: bool = True) -> list[tuple[str, str, str]]:
    compiled = ({"a": 1}, {"a": 2}) if tables_differ else ({}, {})
    return [(change.kind, change.subject, change.clause) for change in changes(before, after, compiled=compiled)]


def test_the_same_clauses_elsewhere_in_another_order_are_no_change():
    one, two = clause("aisecops.rules.a.b", "findings", "x"), clause("aisecops.rules.a.b", "findings", "y", line=9)
    moved = clause("aisecops.rules.a.b", "findings", "x", line=70, file="rego/other.rego")
    assert told(text(one, two), text(two, moved)) == []


def test_rules_are_added_removed_and_changed():
    old, new = clause("aisecops.rules.a.old", "findings", "x"), clause("aisecops.rules.a.new", "findings", "y")
    kept, edited = clause("aisecops.rules.a.kept", "findings", "v1"), clause("aisecops.rules.a.kept", "findings", "v2")
    assert told(text(old, kept), text(new, edited)) == [
        (ChangeKind.RULE_ADDED, "a.new", "findings"),
        (ChangeKind.RULE_CHANGED, "a.kept", "findings"),
        (ChangeKind.RULE_REMOVED, "a.old", "findings"),
    ]


def test_one_clause_more_of_the_same_name_is_a_change_with_its_place():
    one, two = clause("aisecops.rules.a.b", "findings", "x"), clause("aisecops.rules.a.b", "findings", "y", line=9)
    (change,) = changes(text(one), text(one, two), compiled=({}, {}))
    assert (change.kind, change.before.file, change.after.line, change.after.text) == (
        ChangeKind.RULE_CHANGED,
        "",
        9,
        "text of y",
    )
    assert change.rule == "a.b"


def test_metadata_of_a_rule_is_part_of_what_it_says():
    before, after = (clause("aisecops.rules.a.b", METADATA, said) for said in ("high", "low"))
    assert told(text(before), text(after)) == [(ChangeKind.RULE_CHANGED, "a.b", METADATA)]


def test_other_packages_are_the_library():
    before, after = (clause("aisecops.lib", "grant", said) for said in ("x", "y"))
    assert told(text(before), text(after)) == [(ChangeKind.LIBRARY_CHANGED, "aisecops.lib", "grant")]


def test_rows_are_told_with_their_values_and_places():
    before = text(row("approvals/tools/crm/amount_over", 100, 12), row("trust/memory", "internal"))
    after = text(row("approvals/tools/crm/amount_over", 50, 14), row("risk/x", 1))
    changed, added, removed = changes(before, after, compiled=({"a": 1}, {}))
    assert (changed.subject, changed.before.text, changed.before.line, changed.after.text, changed.after.line) == (
        "approvals.tools.crm.amount_over",
        "100",
        12,
        "50",
        14,
    )
    assert (added.kind, added.before.file) == (ChangeKind.ROW_ADDED, "")
    assert (removed.kind, removed.after.file) == (ChangeKind.ROW_REMOVED, "")


def test_descriptions_are_no_change_and_neither_is_another_spelling_of_the_same_tables():
    before, after = text(row("tools/a/description", "x")), text(row("tools/a/description", "y"))
    assert told(before, after) == []
    assert told(text(row("tools/a/effect", "read")), text(), tables_differ=False) == []
