"""What a worker and a scheduler of a replay cluster serve."""
