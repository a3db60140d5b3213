"""Where each argument value of a plan was seen among its sources."""
