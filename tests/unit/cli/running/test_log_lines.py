"""Lines of the process's own log: one object a record, whatever is in it, and no text of exceptions."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from aisecops_server.cli.running.log_lines import JsonLines
from aisecops_server.ports.log_trace import begin_trace, current_trace
from hypothesis import given
from hypothesis import strategies as st

CANARY = "canary-7f3a"
TRACE = "0af7651916cd43dd8448eb211c80319c"
HOSTILE = 'a\nb\r\u2028c\x1b[31m\u202e"}{"level": "info"\x00\ud800'


def line(message: str, *arguments: object, error: BaseException | None = None) -> str:
    told = (type(error), error, error.__traceback__) if error else None
    return JsonLines().format(
        logging.LogRecord("aisecops_server.x", logging.WARNING, "x.py", 1, message, arguments, told)
    )


def raised() -> BaseException:
    try:
        json.loads(CANARY)
    except ValueError as error:
        outer = KeyError(CANARY)
        outer.__cause__ = error
        try:
            raise outer
        except KeyError as last:
            return last
    raise AssertionError(CANARY)


def read(text: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(text)
    return said


def test_a_line_says_when_how_bad_where_and_what() -> None:
    said = read(line("engine %s is given up", "r1"))
    assert (said["level"], said["logger"], said["message"]) == ("warning", "aisecops_server.x", "engine r1 is given up")
    assert said["time"].endswith("+00:00")
    assert said.keys() == {"level", "logger", "message", "time"}


def test_an_exception_is_told_by_type_and_place_and_never_by_its_text() -> None:
    text = line("a fault", error=raised())
    assert CANARY not in text
    assert read(text)["error"]["type"] == "KeyError"
    assert [frame.rpartition(" ")[2] for frame in read(text)["error"]["frames"]] == ["raised"]


def test_the_text_format_would_tell_it() -> None:
    error = raised()
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "a fault", (), (type(error), error, error.__traceback__))
    assert CANARY in logging.Formatter("%(message)s").format(record)


@given(st.text() | st.just(HOSTILE))
def test_one_record_is_one_line_of_ascii(text: str) -> None:
    told = line("%s", text)
    assert told.isascii()
    assert told.isprintable()
    assert read(told)["message"] == (text if len(text) <= 4096 else f"{text[:4096]} (cut)")


def test_a_long_message_is_cut_and_says_so() -> None:
    assert read(line("x" * 100_000))["message"] == "x" * 4096 + " (cut)"


def test_a_trace_is_that_of_the_task_and_of_what_it_starts() -> None:
    async def inner() -> str:
        return str(read(line("inner")).get("trace_id", ""))

    async def call(trace: str) -> tuple[str, str]:
        begin_trace(trace)
        begin_trace("")
        return str(read(line("outer")).get("trace_id", "")), await asyncio.create_task(inner())

    async def both() -> list[tuple[str, str]]:
        return list(await asyncio.gather(call(TRACE), call("")))

    assert asyncio.run(both()) == [(TRACE, TRACE), ("", "")]
    assert current_trace() == ""


def test_nothing_of_the_standard_formatter_is_cached_for_others() -> None:
    error = raised()
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "a fault", (), (type(error), error, error.__traceback__))
    JsonLines().format(record)
    assert record.exc_text is None
    assert sys.exc_info() == (None, None, None)
