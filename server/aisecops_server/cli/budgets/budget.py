"""``aisecops budget``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.budgets.budget_commands"

budget = group(
    "budget",
    help="See how much of which limit was used, and correct the books.",
    entries={
        "list": Entry(f"{_HERE}:list_budgets", "List budgets that were used."),
        "show": Entry(f"{_HERE}:show_budget", "Show one budget."),
        "history": Entry(f"{_HERE}:history", "Show the periods of a budget and what people did to it."),
        "adjust": Entry(f"{_HERE}:adjust", "Raise or lower what was used, freeze a budget or let it go on."),
        "release": Entry(f"{_HERE}:release", "Give back what was reserved for calls that did not run."),
    },
    examples="""
    aisecops budget list --frozen
    aisecops budget show team:customer-support/micro_usd/month
    """,
)
