"""Which trace the work at hand belongs to, for the lines of the process's own log.

It follows the task: a call begins it, and what the call starts inherits it. Nothing is decided by it.
"""

from __future__ import annotations

from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("trace", default="")


def begin_trace(trace_id: str) -> None:
    """Say that what this task logs from now on belongs to ``trace_id``; an empty one changes nothing."""
    if trace_id:
        _current.set(trace_id)


def current_trace() -> str:
    """Return the trace of this task; empty for work of the control plane's own."""
    return _current.get()
