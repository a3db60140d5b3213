"""What the events of the log add up to."""
