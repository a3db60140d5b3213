"""The lines that ``aisecops serve`` writes about itself, as JSON: one object a record, one record a line."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Literal

from aisecops_server.ports.log_trace import current_trace

TEXT = "%(asctime)s %(levelname)s %(message)s"
# What a single line may take; a longer message is cut and says so.
_MOST_CHARACTERS = 4096
_MOST_FRAMES = 20


class JsonLines(logging.Formatter):
    """Formats a record as one line of ASCII JSON, sorted by key.

    An exception is told by its type and where it was raised. Its own text is left out: a library may quote in it what
    it choked on, which is what an agent sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        said: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        # What a line is about is known better where it is written than by the task that writes it.
        trace_id = getattr(record, "trace_id", "") or current_trace()
        if trace_id:
            said["trace_id"] = trace_id
        if record.exc_info and record.exc_info[1] is not None:
            said["error"] = _told(record.exc_info[1])
        return json.dumps(said, sort_keys=True)


def begin_logging(*, log_format: Literal["text", "json"], level: int) -> None:
    """Write what is logged from now on to standard error, in the given format."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if log_format == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=level, handlers=[handler])


def _cut(message: str) -> str:
    return message if len(message) <= _MOST_CHARACTERS else f"{message[:_MOST_CHARACTERS]} (cut)"


def _told(error: BaseException) -> dict[str, object]:
    frames = traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]
    return {
        "type": type(error).__name__,
        "frames": [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames],
    }
