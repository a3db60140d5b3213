"""Recorded traces of others: stored, decided, and reported on."""
