"""Policy as people write and change it: rules, checks, golden cases, and what a change would do."""
