"""``aisecops agent``, ``incident`` and ``maturity``."""
