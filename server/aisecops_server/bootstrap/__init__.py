"""The composition root: the one place where use cases meet the adapters that serve them.

Nothing below reads settings, the environment or a registry; whatever a part needs, it is handed here.
"""
