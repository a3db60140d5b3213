"""Who may use how much of what, and the books of what was used."""
