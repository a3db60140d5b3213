"""``aisecops bundle``, ``rollout`` and ``engine``."""
