"""Adapters for agent frameworks: a tool of theirs runs as it was granted, or not at all.

Each module needs its framework, which is an extra of the same name. What they share is ``_bridge``: a pending call
becomes a plan with all that the framework's own messages say reached the model, is decided, and is run, refused in
words that the model can read, or waits for people.
"""

from aisecops_client.frameworks._bridge import Bridge

__all__ = ["Bridge"]
