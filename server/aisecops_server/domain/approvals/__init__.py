"""Consent of people to one plan: requests, votes, and messages about them."""
