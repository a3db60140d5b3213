"""What policy authors ask: checks, firings of rules, a corpus, and entries for agents that are new."""
