"""``aisecops replay`` and ``drift``."""
