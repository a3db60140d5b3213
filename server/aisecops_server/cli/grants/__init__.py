"""``aisecops grant``."""
