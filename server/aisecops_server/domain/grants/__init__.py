"""Authority to run one call, what ran, and where the two disagree."""
