"""``aisecops budget``."""
