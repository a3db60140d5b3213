"""``aisecops log``, ``witness``, ``backup`` and ``db``."""
