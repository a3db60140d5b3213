"""Witnesses elsewhere."""
