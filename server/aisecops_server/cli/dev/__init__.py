"""``aisecops dev``: trials on one machine."""
