"""Requests for approval on real stores."""
