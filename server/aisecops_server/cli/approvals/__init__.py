"""``aisecops approvals``."""
