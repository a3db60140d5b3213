"""Policies and the repositories they come from."""
