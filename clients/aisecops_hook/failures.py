"""Why a use of a tool is refused. Whatever is raised here ends the program with 2."""

from __future__ import annotations


class HookError(Exception):
    """A use of a tool is refused; the text is what the agent and its person are told."""
