"""A new rule from one template: the rule, three tests, and its page, which pass every check as they are written.

It begins as a rule about one tool, which people then turn into what they mean: each part that they must say is there
once, so that nothing is forgotten.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aisecops_server.domain.decisions.decision import Effect, Severity
from aisecops_server.domain.errors import InvalidRequestError

_NAME = re.compile(r"[a-z][a-z0-9_]{1,40}/[a-z][a-z0-9_]{1,60}")
_TOOL = re.compile(r"[A-Za-z0-9_.\-]+/[A-Za-z0-9_.\-]+")
_LINE = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True, slots=True)
class NewRule:
    """What a new rule is to say of itself. ``name`` is ``CATEGORY/RULE``; ``tool`` is the tool that it begins with."""

    name: str
    effect: Effect
    severity: Severity
    owner: str
    title: str
    tool: str

    @property
    def category(self) -> str:
        """Return the first part of the name."""
        return self.name.partition("/")[0]

    @property
    def rule(self) -> str:
        """Return the second part of the name."""
        return self.name.partition("/")[2]

    @property
    def directory(self) -> str:
        """Return where the rule goes in a policy repository."""
        return f"rego/aisecops/rules/{self.name}"


def rule_files(new: NewRule) -> dict[str, bytes]:
    """Return the files of a new rule by path.

    Raises:
        InvalidRequestError: the name, the tool or a text is not what it may be.
    """
    _require_sound(new)
    base = f"{new.directory}/{new.rule}"
    files = {f"{base}.rego": _rule(new), f"{base}_test.rego": _test(new), f"{new.directory}/README.md": _page(new)}
    return {path: text.encode() for path, text in files.items()}


def _require_sound(new: NewRule) -> None:
    if not _NAME.fullmatch(new.name):
        raise InvalidRequestError(
            f"'{new.name[:80]}' is no name of a rule",
            hint="Write CATEGORY/RULE in small letters, digits and underscores, such as business/refund_at_night",
            field="name",
        )
    if not _TOOL.fullmatch(new.tool):
        raise InvalidRequestError(
            f"'{new.tool[:80]}' is no tool", hint="Write SERVER/TOOL, as it stands in data/tools.yaml", field="tool"
        )
    for field, text in (("title", new.title), ("owner", new.owner)):
        # They stand in comments that are read as YAML: nothing in them may end the line or the value.
        if not _LINE.fullmatch(text) or set(text) & set("\"'\\:#{}[]"):
            raise InvalidRequestError(
                f"the {field} has signs that METADATA cannot hold",
                hint="Use letters, digits, spaces and dashes",
                field=field,
            )


def _description(new: NewRule) -> str:
    return f"The plan calls {new.tool}."


def _remedy() -> str:
    return "Leave the call out, or ask the owner of this rule."


def _rule(new: NewRule) -> str:
    return f"""# METADATA
# title: {new.title}
# description: {_description(new)}
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   effect: {new.effect.value}
#   severity: {new.severity.value}
#   owner: {new.owner}
#   remedy: {_remedy()}
#   mappings: [owasp-llm-2025:LLM06]
package aisecops.rules.{new.category}.{new.rule}

import data.aisecops.lib
import data.aisecops.result

findings contains finding if {{
	some joined in lib.steps
	joined.tool == "{new.tool}"
	finding := result.finding(rego.metadata.chain(), joined.id, [lib.tool_fact(joined)])
}}
"""


def _test(new: NewRule) -> str:
    return f"""package aisecops.rules.{new.category}.{new.rule}_test

import data.aisecops.rules.{new.category}.{new.rule}
import data.aisecops.testing

found(document) := findings if {{
	findings := {new.rule}.findings with input as document with data.tables as testing.tables
}}

caught := testing.one("{new.tool}", {{}})

missed := testing.one("{new.tool}_of_another_name", {{}})

test_what_it_is_about_is_found if {{
	found(caught) == {{{{
		"rule": "{new.category}.{new.rule}",
		"title": "{new.title}",
		"message": "{_description(new)}",
		"effect": "{new.effect.value}",
		"severity": "{new.severity.value}",
		"step": "s1",
		"facts": [{{"pointer": "/plan/steps/0/tool", "value": "{new.tool}"}}],
		"remedy": "{_remedy()}",
	}}}}
}}

test_a_near_miss_is_left_alone if {{
	found(missed) == set()
}}

test_an_unknown_agent_is_told_too if {{
	count(found(testing.from_stranger(caught))) == 1
}}
"""


def _page(new: NewRule) -> str:
    return f"""# {new.category}.{new.rule}

{_description(new)}

**Found**: every call of `{new.tool}`. **Left alone**: calls of any other tool.

**Why**: say what went wrong, or could, and who asked for the rule.

**Exceptions**: say who may do it anyway, and how: by approval, by another tool, never.
"""
