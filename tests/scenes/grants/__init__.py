"""Grants and keys, and agents as processes of their own."""
