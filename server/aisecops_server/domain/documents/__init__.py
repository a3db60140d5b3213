"""The JSON that policy sees of a plan, and documents that every revision must answer rightly."""
