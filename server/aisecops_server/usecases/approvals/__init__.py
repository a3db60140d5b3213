"""Asking people, hearing their votes, and telling them of requests."""
