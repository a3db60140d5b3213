"""Recorded histories, and replays of them."""
