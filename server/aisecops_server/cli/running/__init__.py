"""What runs, and how it goes: ``serve``, ``doctor``, ``health``, ``top``, ``metrics``, ``ui``."""
