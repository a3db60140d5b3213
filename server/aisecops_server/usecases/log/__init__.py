"""What the log commits to, who read it, and the keys that sign for it."""
