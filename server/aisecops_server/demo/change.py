"""The one change that the demo makes to the policy: a table that finance owns, edited as a person would."""

from __future__ import annotations

import re
from collections.abc import Mapping

TABLE = "data/approvals.yaml"
MESSAGE = "Look at refunds over 50, pay suppliers up to 5,000 without asking"
AMOUNTS: Mapping[str, int] = {"crm/issue_refund": 50, "payments/create_transfer": 5000}


class TableChangedError(ValueError):
    """The shipped table no longer has the entry that the demo edits."""


def edited(table: str) -> str:
    """Return the table with its new amounts; comments and order stay.

    Raises:
        TableChangedError: an entry is not there.
    """
    for tool, amount in AMOUNTS.items():
        pattern = re.compile(rf"(?m)^(  {re.escape(tool)}:\n(?:    .*\n)*?    amount_over: )\d+")
        table, count = pattern.subn(rf"\g<1>{amount}", table)
        if count != 1:
            raise TableChangedError(f"{TABLE} has no amount for {tool}")
    return table


def part_of_diff(diff: str, tool: str) -> str:
    """Return the changed lines that stand under ``tool`` in a unified diff, or the whole diff."""
    own: list[str] = []
    inside = False
    for line in diff.splitlines()[2:]:
        if line[1:].startswith("  ") and not line[1:].startswith("   "):
            inside = line[1:].strip() == f"{tool}:"
        if inside and line.startswith(("+", "-")):
            own.append(line)
    return "\n".join(own) or diff
