"""A revision on its way from a commit to every agent."""
