"""Decisions made again on some policy, and why they differ. Nothing here records, spends or serves."""
