"""Requirements of frameworks, and whether what is claimed of them holds."""
