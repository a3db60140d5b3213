"""Every kind of event that the log can hold."""

from __future__ import annotations

from aisecops_server.domain.events.event_kinds import EVENT_KINDS

from docs.generate.markdown import code, table

INTRODUCTION = """# Events

What the audit log can hold, by the `type` of the event. The glossary says what stages there are; the body of an event
is canonical JSON, and `details` in it are particular to the kind.

"""


def page() -> str:
    """Return the page."""
    return INTRODUCTION + table(["type", "says that"], [[code(kind), said] for kind, said in EVENT_KINDS.items()])
