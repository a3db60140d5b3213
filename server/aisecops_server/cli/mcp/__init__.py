"""``aisecops mcp``, ``guard`` and ``hook``."""
