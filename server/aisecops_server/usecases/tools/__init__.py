"""Calls of tools that others stand in front of."""
