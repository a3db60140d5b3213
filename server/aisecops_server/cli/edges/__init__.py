"""``aisecops edge`` and ``airgap``."""
