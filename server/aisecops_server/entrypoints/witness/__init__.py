"""A witness as a small web service of its own."""
