"""Which policy is live, and how a commit comes to be it."""
