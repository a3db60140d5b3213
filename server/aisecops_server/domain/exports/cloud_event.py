"""Events of the log as CloudEvents 1.0 in JSON (cloudevents.io, structured mode), one a line.

``id`` is the event's own, so that what is delivered twice is known. ``sequence`` (an extension that the specification
documents) is the place in the log, as text: the format's integers end at 2^31. Names of extensions are lower-case
letters, as the specification wants.
"""

from __future__ import annotations

from urllib.parse import quote

from aisecops_server.domain.exports.record import Exported
from aisecops_server.domain.formats.canonical import JsonValue

SPEC_VERSION = "1.0"
TYPE_PREFIX = "aisecops."
_SEQUENCE_DIGITS = 20


def cloud_event(item: Exported) -> dict[str, JsonValue]:
    """Return one event. An attribute that would be empty is left out, as the specification wants."""
    event = item.stored.event
    extensions = {
        "sequence": f"{item.stored.index:0{_SEQUENCE_DIGITS}d}",
        "stage": event.stage.value,
        "leafhash": item.stored.leaf_hash.hex(),
        "traceid": event.trace_id,
        "planid": event.plan_id,
        "decisionid": event.decision_id,
    }
    return {
        "specversion": SPEC_VERSION,
        "id": event.id,
        "source": f"urn:aisecops:log:{quote(item.origin, safe='/')}",
        "type": f"{TYPE_PREFIX}{event.type}",
        "time": item.time,
        "datacontenttype": "application/json",
        **({"subject": event.decision_id} if event.decision_id else {}),
        **{name: value for name, value in extensions.items() if value},
        "data": dict(item.details),
    }
