"""From a plan or a text to a recorded decision, and why one came out as it did."""
