"""The rule catalogue, from the METADATA that stands above each rule's package."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import groupby
from pathlib import Path
from typing import Any

from docs.generate.markdown import code, one_line, table

ROOT = Path(__file__).resolve().parents[2]
INTRODUCTION = """# Rules

The rule library under `rego/aisecops/rules`, one directory a rule. A rule contributes findings; it never decides.
The plan's outcome is the most restrictive effect of all findings: `deny` over `require_approval` over `warn`, and
a step that no capability covers is denied.

"""
HEADINGS = ("effect", "severity", "owner")
FACTS = (*HEADINGS, "remedy", "mappings")


def page() -> str:
    """Return the page."""
    found = sorted((rule for rule in _annotations() if rule["id"]), key=lambda rule: rule["id"])
    parts = [INTRODUCTION, table(["rule", "title", *HEADINGS], [_row(rule) for rule in found])]
    for category, rules in groupby(found, key=lambda rule: rule["id"].partition(".")[0]):
        parts.append(f"\n## {category}\n")
        parts.extend(_section(rule) for rule in rules)
    return "".join(parts)


def _annotations() -> list[dict[str, Any]]:
    opa = os.environ.get("AISECOPS_OPA") or "opa"
    command = [opa, "inspect", "--annotations", "--format", "json", "rego"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # noqa: S603 - our own engine
    return [_rule(item) for item in json.loads(done.stdout)["annotations"]]


def _rule(item: dict[str, Any]) -> dict[str, Any]:
    path = [part["value"] for part in item["path"]]
    is_rule = path[:3] == ["data", "aisecops", "rules"] and len(path) == 5 and not path[4].endswith("_test")  # noqa: PLR2004
    return {**item["annotations"], "id": ".".join(path[3:]) if is_rule else "", "file": item["location"]["file"]}


def _row(rule: dict[str, Any]) -> list[str]:
    custom = rule.get("custom", {})
    anchor = rule["id"].replace(".", "")
    return [f"[`{rule['id']}`](#{anchor})", rule.get("title", ""), *(str(custom.get(key, "")) for key in HEADINGS)]


def _section(rule: dict[str, Any]) -> str:
    custom = rule.get("custom", {})
    facts = [[key, _value(custom[key])] for key in (*FACTS, *sorted(custom.keys() - set(FACTS))) if key in custom]
    place = f"[{rule['file']}](../../{rule['file']})"
    text = one_line(rule.get("description", ""))
    return f"\n### {rule['id']}\n\n**{rule.get('title', '')}.** {text}\n\n{table(['', ''], [*facts, ['file', place]])}"


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(code(str(item)) for item in value)
    return str(value)
