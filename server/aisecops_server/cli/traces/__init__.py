"""``aisecops trace``, and the options that narrow traces."""
