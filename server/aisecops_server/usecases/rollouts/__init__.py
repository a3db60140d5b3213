"""A revision watched beside the live one, let in step by step, and taken back."""
