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
