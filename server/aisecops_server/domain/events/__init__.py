"""What the log is made of: events, their payloads, and changes of state that are stored with them."""
