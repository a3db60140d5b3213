"""Recorded decisions, decided again: comparison, fidelity, flips, and what would decide otherwise."""
