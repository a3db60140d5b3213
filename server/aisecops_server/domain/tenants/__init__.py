"""Whose a call is where several share a control plane, and whose turn it is."""
