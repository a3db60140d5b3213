"""From a gateway's message to an HTTP request, and from what became of it to what the gateway does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from aisecops.v1 import ext_authz_pb2 as api

from aisecops_server.domain.callers.identity import Presented
from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError, UnauthenticatedError
from aisecops_server.domain.tools.http_request import APPROVAL_HEADER, TOKEN_HEADERS, HttpRequest
from aisecops_server.entrypoints.grpc import status
from aisecops_server.usecases.tools.check_http import CheckedRequest

_OK, _PERMISSION_DENIED = 0, 7
_REPLACE = 2
_FORBIDDEN = 403
_HTTP_OF_REASON: Mapping[str, int] = {
    "INVALID_REQUEST": 400,
    "INVALID_PLAN": 400,
    "UNAUTHENTICATED": 401,
    "OVERLOADED": 429,
    "CONTENDED": 503,
    "NO_DECISION": 503,
    "ENGINE_UNAVAILABLE": 503,
    "NO_LIVE_REVISION": 503,
    "POLICY_STALE": 503,
    "LOG_UNAVAILABLE": 503,
    "SEALED": 503,
    "INTERNAL": 503,
}
_MOST_FINDINGS = 8


def request_of(asked: api.ExtAuthzRequest) -> HttpRequest:
    """Return the HTTP request that a gateway describes.

    Raises:
        InvalidRequestError: it says the same thing twice, or uses what this version does not read.
    """
    http = asked.attributes.request.http
    for field in ("query", "fragment"):
        if getattr(http, field):
            raise InvalidRequestError(f"http.{field}: belongs into the path", field=f"http.{field}")
    if http.body and http.raw_body:
        raise InvalidRequestError("http.body: comes as text and as bytes", field="http.body")
    if http.headers and http.header_map.headers:
        raise InvalidRequestError("http.headers: come twice", field="http.headers")
    listed = [(header.key, _value(header)) for header in http.header_map.headers]
    return HttpRequest(
        method=http.method,
        scheme=http.scheme,
        host=http.host,
        path=http.path,
        headers=listed or list(http.headers.items()),
        body=http.raw_body or http.body.encode(),
        size=http.size,
    )


def presented_in(request: HttpRequest, asked: api.ExtAuthzRequest) -> Presented:
    """Return what the sender of an HTTP request proves who it is with; no other header says anything of that.

    Raises:
        UnauthenticatedError: it presents several tokens, or something else than a token.
    """
    certificate = unquote(asked.attributes.source.certificate).encode()
    for name in TOKEN_HEADERS:
        values = [value for key, value in request.headers if key.lower() == name]
        if not values:
            continue
        scheme, _, token = values[0].partition(" ")
        if len(values) > 1 or scheme.lower() != "bearer" or not token or not token.isascii():
            raise UnauthenticatedError(
                f"the header {name} is not one bearer token",
                hint=f"Send '{name}: Bearer <token>', once",
                why="malformed",
            )
        return Presented(token, certificate)
    return Presented("", certificate)


def allowed(checked: CheckedRequest, request: HttpRequest) -> api.ExtAuthzResponse:
    """Return that the request may pass, without what its sender proved itself with here."""
    if checked.grant is None:
        raise ValueError("nothing passes without a grant")
    names = {key.lower() for key, _ in request.headers}
    spent = next((name for name in TOKEN_HEADERS if name in names), "")
    told = {
        "aisecops-decision": str(checked.decided.details["decision_id"]),
        "aisecops-grant-id": checked.grant.grant.id,
    }
    return api.ExtAuthzResponse(
        status=api.ExtAuthzResult(code=_OK),
        ok_response=api.ExtAuthzOk(
            headers=_headers({**told, "aisecops-grant": checked.grant.token}),
            headers_to_remove=[name for name in (spent, APPROVAL_HEADER) if name],
            response_headers_to_add=_headers(told),
        ),
    )


def denied(checked: CheckedRequest) -> api.ExtAuthzResponse:
    """Return that policy denies the request, or wants people to approve it first; facts and arguments stay here."""
    details: Mapping[str, Any] = checked.decided.details
    approval_id = str(details.get("approval_id", ""))
    waits = checked.decided.outcome is Outcome.REQUIRE_APPROVAL
    reason = "APPROVAL_REQUIRED" if waits else "DENIED"
    return _refusal(
        _FORBIDDEN,
        {
            "outcome": details["outcome"],
            "reason": reason,
            "message": details["explanation"],
            "decision_id": details["decision_id"],
            "trace_id": details["trace_id"],
            **({"approval_id": approval_id} if approval_id else {}),
            "findings": [
                {key: finding[key] for key in ("rule", "message", "remedy")}
                for finding in details["findings"][:_MOST_FINDINGS]
            ],
        },
        {
            "aisecops-reason": reason,
            "aisecops-decision": str(details["decision_id"]),
            **({APPROVAL_HEADER: approval_id} if approval_id else {}),
        },
    )


def failed(error: AisecopsError) -> api.ExtAuthzResponse:
    """Return that the request is denied because of ``error``: an answer, so that no gateway takes it for a fault."""
    code = _HTTP_OF_REASON.get(error.reason, _FORBIDDEN)
    headers = {"aisecops-reason": error.reason}
    delay = status.RETRY_MILLISECONDS.get(error.reason)
    if delay is not None:
        headers["retry-after"] = str(max(1, delay // 1000))
    if isinstance(error, UnauthenticatedError):
        headers["www-authenticate"] = "Bearer"
    return _refusal(code, {"outcome": "DENY", "reason": error.reason, "message": status.shown_message(error)}, headers)


def _refusal(code: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> api.ExtAuthzResponse:
    return api.ExtAuthzResponse(
        status=api.ExtAuthzResult(code=_PERMISSION_DENIED, message=str(body["reason"])),
        denied_response=api.ExtAuthzDenied(
            status=api.ExtAuthzStatus(code=code),
            headers=_headers({"content-type": "application/json", **headers}),
            body=json.dumps(body) + "\n",
        ),
    )


def _headers(told: Mapping[str, str]) -> Iterable[api.ExtAuthzHeaderOption]:
    return [
        api.ExtAuthzHeaderOption(header=api.ExtAuthzHeader(key=key, value=value), append_action=_REPLACE)
        for key, value in told.items()
    ]


def _value(header: api.ExtAuthzHeader) -> str:
    if header.value and header.raw_value:
        raise InvalidRequestError("http.header_map: a value comes twice", field="http.header_map")
    # One character a byte: what is not ASCII is refused or compared as it is, never decoded in one of many ways.
    return str(header.value or header.raw_value.decode("latin-1"))
