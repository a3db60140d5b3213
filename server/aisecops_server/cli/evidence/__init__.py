"""``aisecops evidence`` and ``compliance``, and the keys that sign."""
