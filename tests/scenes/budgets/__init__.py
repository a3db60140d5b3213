"""Budgets: histories, auditors, and the processes that race for them."""
