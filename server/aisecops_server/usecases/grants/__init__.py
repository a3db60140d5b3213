"""Giving out authority, using it up, and hearing what ran."""
