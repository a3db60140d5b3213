"""``aisecops policy``."""
