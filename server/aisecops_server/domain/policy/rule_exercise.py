"""Rules bent on purpose, to see whether their tests notice: one that never fires, and one that always does.

A test that passes whatever a rule says is no test. So each rule's findings are replaced, once by nothing and once by a
finding of nobody's wherever the rule was silent, and at least one test beside it must fail each time. Only the text
between the places that the engine's parser gives is changed.
"""

from __future__ import annotations

from enum import StrEnum

from aisecops_server.domain.policy.rego_syntax import Module, at, rule_name

_FINDINGS = "findings"
_RENAMED = "findings_as_written"


class Bend(StrEnum):
    """How a rule is bent."""

    NEVER = "never"
    ALWAYS = "always"


_REPLACEMENT = {
    Bend.NEVER: f"""
{_FINDINGS} := set() if {{
	count({_RENAMED}) >= 0
}}
""",
    # What fired stays as it was, so that only a test that looks at silence can fail.
    Bend.ALWAYS: f"""
{_FINDINGS} := {_RENAMED} if {{
	count({_RENAMED}) > 0
}} else := {{{{"rule": "bent.always"}}}}
""",
}


def bent(module: Module, text: str, bend: Bend) -> str:
    """Return the text of a rule whose findings are bent; the text itself when it has no findings."""
    lines = text.splitlines(keepends=True)
    places = [at(rule, "head", "location") for rule in module.rules if rule_name(rule) == _FINDINGS]
    if not places:
        return text
    for place in places:
        row, column = at(place, "row"), at(place, "col")
        if not isinstance(row, int) or not isinstance(column, int):
            return text
        line = lines[row - 1]
        # Columns count bytes; what stands before a head is white space.
        head = line[column - 1 :]
        if head.startswith(_FINDINGS):
            lines[row - 1] = line[: column - 1] + _RENAMED + head.removeprefix(_FINDINGS)
    return "".join(lines) + _REPLACEMENT[bend]
