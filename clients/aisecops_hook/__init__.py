"""The hook of coding agents: one short-lived program for each use of a tool, which asks and answers by its exit code.

Whoever starts it waits for it each time, so it imports nothing that it can do without, and no library.
"""
