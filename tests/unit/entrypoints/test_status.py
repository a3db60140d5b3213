"""Errors become statuses by one table, and nothing of the inside crosses the wire."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from aisecops_server.domain.errors import AisecopsError, EngineUnavailableError, InvalidPlanError, OverloadedError
from aisecops_server.entrypoints.grpc import status
from google.rpc import error_details_pb2, status_pb2


class Ended(Exception):  # noqa: N818 - what a real context raises has such a name
    """What ``abort`` raises."""


class Context:
    """Remembers how the call ended."""

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any) -> None:
        self.code, self.details, self.trailers = code, details, dict(trailing_metadata)
        raise Ended

    def parts(self) -> dict[str, Any]:
        found = {}
        for detail in status_pb2.Status.FromString(self.trailers["grpc-status-details-bin"]).details:
            kind = getattr(error_details_pb2, detail.TypeName().rpartition(".")[2])()
            detail.Unpack(kind)
            found[detail.TypeName()] = kind
        return found


async def ended(error: Exception) -> Context:
    context = Context()
    with pytest.raises(Ended):
        await status.abort(context, status.as_known(error))
    return context


@pytest.mark.asyncio
async def test_a_refused_field_is_named_for_people_and_machines() -> None:
    context = await ended(InvalidPlanError("steps: none", hint="Add one", field="steps", trace_id="t"))
    assert (context.code, context.details) == (grpc.StatusCode.INVALID_ARGUMENT, "steps: none. Add one")
    parts = context.parts()
    info = parts["google.rpc.ErrorInfo"]
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "INVALID_PLAN",
        "aisecops",
        {"field": "steps", "traceId": "t"},
    )
    assert parts["google.rpc.BadRequest"].field_violations[0].field == "steps"
    assert "google.rpc.RetryInfo" not in parts


@pytest.mark.asyncio
@pytest.mark.parametrize(("error", "seconds"), [(OverloadedError("full"), 0.05), (EngineUnavailableError("gone"), 0.2)])
async def test_when_a_retry_helps_its_delay_is_told(error: AisecopsError, seconds: float) -> None:
    delay = (await ended(error)).parts()["google.rpc.RetryInfo"].retry_delay
    assert delay.seconds + delay.nanos / 1e9 == seconds


@pytest.mark.asyncio
async def test_what_nobody_expected_is_internal_and_neutral() -> None:
    context = await ended(RuntimeError("password=hunter2"))
    assert context.code is grpc.StatusCode.INTERNAL
    assert "hunter2" not in context.details + str(context.trailers)


@pytest.mark.asyncio
async def test_no_answer_in_time_is_unavailable() -> None:
    context = await ended(TimeoutError())
    assert context.code is grpc.StatusCode.UNAVAILABLE
    assert context.parts()["google.rpc.ErrorInfo"].metadata["why"] == "deadline"


@pytest.mark.asyncio
async def test_long_messages_fit_the_trailers() -> None:
    context = await ended(InvalidPlanError("\u00e9" * 5000, field="f" * 5000, note="n" * 5000))
    trailers = context.trailers["grpc-status-details-bin"]
    assert len(context.details) == 500
    assert len(trailers) < 4096
