"""Reading an HTTP request so that the server behind the gateway cannot read it differently.

What policy judges must be what the tool runs. So nothing is repaired or normalised: whatever two readers are known to
take for different things is refused with the name of the part. That is: a path with dots, empty or encoded segments;
percent-encoding of what needs none; a plus in the query; a parameter, header or JSON key that stands twice; headers
that contradict the request line; a body that is not there in full.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from aisecops_server.domain.errors import InvalidRequestError, NotFoundError
from aisecops_server.domain.formats.canonical import SAFE_INTEGER, JsonValue
from aisecops_server.domain.formats.strict_json import parse_object
from aisecops_server.domain.tables.http_routes import PARAMETER, find_route

TOKEN_HEADERS = ("aisecops-authorization", "authorization")
APPROVAL_HEADER = "aisecops-approval"
_PATH_CHARACTERS = 8 * 1024
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_IN_PATH = _UNRESERVED | frozenset("!$&'()*+,=:@%")
_IN_QUERY = _UNRESERVED | frozenset("!$'()*,:@/?=%")
_HEX = frozenset(string.hexdigits)
_TOKEN = frozenset(string.ascii_lowercase + string.digits + "!#$%&'*+-.^_`|~")
# Frameworks that honour these serve another request than the one that was sent.
_OVERRIDES = frozenset(
    {
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x-original-url",
        "x-original-uri",
        "x-rewrite-url",
        "x-original-method",
    }
)
_READ_ONCE = frozenset(
    {
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "x-forwarded-host",
        "x-envoy-auth-partial-body",
        APPROVAL_HEADER,
        *TOKEN_HEADERS,
    }
)
_USUAL_PORT = {"https": ":443", "http": ":80"}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as a gateway describes it. ``path`` is raw, with its query; ``size`` is -1 where it is not known."""

    method: str
    scheme: str
    host: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes = b""
    size: int = -1

    def header(self, name: str) -> str:
        """Return the value of a header; empty where there is none, or several."""
        values = [value for key, value in self.headers if key.lower() == name]
        return values[0] if len(values) == 1 else ""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """The tool call that a request is, by the route that describes it."""

    route: str
    tool: str
    environment: str
    arguments: Mapping[str, JsonValue]


def read_call(request: HttpRequest, routes: Mapping[str, Any]) -> HttpCall:
    """Return the call that ``request`` is by the compiled table ``routes``.

    Raises:
        InvalidRequestError: readers may take it for different things; ``metadata()["field"]`` names the part.
        NotFoundError: no route describes it.
    """
    headers = _headers(request)
    host = _host(request, headers)
    path, has_query, query = request.path.partition("?")
    segments = _segments(path)
    route = find_route(routes, host=host, method=request.method, segments=segments)
    if route is None:
        raise NotFoundError(
            "no route of the policy describes this request",
            hint="Add it to data/routes.yaml in the policy repository",
            field="http",
        )
    if has_query and not query:
        _refuse("path", "the query is empty")
    texts = {
        **_in_path(route["segments"], segments),
        **_in_query(query, route["query"]),
        **_in_headers(headers, route["headers"]),
    }
    arguments = {name: _typed(name, text, route["integers"]) for name, text in texts.items()}
    body = _body(request, headers, route["body"])
    if twice := sorted(arguments.keys() & body.keys()):
        _refuse("body", f"'{twice[0]}' is an argument of the request line or a header too")
    return HttpCall(route["name"], route["tool"], route["environment"], {**arguments, **body})


def _headers(request: HttpRequest) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in request.headers:
        key = name.lower()
        if key.startswith(":"):
            _is_told(key, value, request)
            continue
        if not key or not _TOKEN.issuperset(key) or any(map(_is_control, value)):
            _refuse("headers", "a name or a value holds what no header may hold")
        found.setdefault(key, []).append(value)
    for key, values in found.items():
        if key in _OVERRIDES:
            _refuse("headers", f"{key} asks for another request than this one")
        if key in _READ_ONCE and len(values) > 1:
            _refuse("headers", f"{key} stands twice")
        if "_" in key and key.replace("_", "-") in found.keys() | _READ_ONCE:
            _refuse("headers", f"{key} may be taken for {key.replace('_', '-')}")
    return found


def _is_told(key: str, value: str, request: HttpRequest) -> None:
    """Check that a pseudo-header says what the request says."""
    said = {":method": request.method, ":path": request.path, ":authority": request.host, ":scheme": request.scheme}
    if key in said and said[key] not in ("", value):
        _refuse("headers", f"{key} is not what the request says")


def _host(request: HttpRequest, headers: Mapping[str, list[str]]) -> str:
    for name in ("host", "x-forwarded-host"):
        if name in headers and headers[name] != [request.host]:
            _refuse("headers", f"{name} is not the host of the request")
    host = request.host.lower()
    return host.removesuffix(_USUAL_PORT.get(request.scheme.lower(), "")) if ":" in host else host


def _segments(path: str) -> tuple[str, ...]:
    if len(path) > _PATH_CHARACTERS:
        _refuse("path", f"longer than {_PATH_CHARACTERS} characters")
    if not path.startswith("/") or not _IN_PATH.issuperset(path.replace("/", "")):
        _refuse("path", "does not begin with a slash, or holds characters that are read in different ways")
    segments = tuple(path[1:].split("/")) if path != "/" else ()
    for segment in segments:
        if segment in {"", ".", ".."}:
            _refuse("path", "a segment is empty or of dots")
        for byte in _encoded(segment, "path"):
            if chr(byte) in _UNRESERVED or chr(byte) in "/\\%;":
                _refuse("path", f"%{byte:02X} is read in different ways")
    return segments


def _in_path(template: Sequence[str], segments: Sequence[str]) -> dict[str, str]:
    return {
        part[1:-1]: _decoded(segment, "path")
        for part, segment in zip(template, segments, strict=True)
        if part.startswith(PARAMETER)
    }


def _in_query(query: str, allowed: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, equals, value = pair.partition("=")
        if not equals or name not in allowed:
            _refuse("query", f"'{name[:64]}' is not a parameter of the route, or has no value")
        if name in found:
            _refuse("query", f"'{name}' stands twice")
        if not _IN_QUERY.issuperset(value):
            _refuse("query", f"'{name}' holds characters that are read in different ways; write a space as %20")
        found[name] = _decoded(value, "query")
    return found


def _in_headers(headers: Mapping[str, list[str]], allowed: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, argument in allowed.items():
        values = headers.get(name, [])
        # Proxies join headers that stand twice with a comma, so a comma may be two values.
        if len(values) > 1 or any("," in value for value in values):
            _refuse("headers", f"{name} stands twice, or holds a comma")
        if values:
            found[argument] = values[0]
    return found


def _body(request: HttpRequest, headers: Mapping[str, list[str]], kind: str) -> Mapping[str, JsonValue]:
    size = len(request.body)
    told = headers.get("content-length", [])
    if headers.get("x-envoy-auth-partial-body", ["false"]) != ["false"]:
        _refuse("body", "only a part of it is here")
    if told and ("transfer-encoding" in headers or not told[0].isascii() or not told[0].isdigit()):
        _refuse("headers", "content-length is no number, or stands beside transfer-encoding")
    if (told and int(told[0]) != size) or request.size not in (-1, 0, size):
        _refuse("body", f"{size} bytes are here, and the request says another length")
    if kind == "none":
        return {} if not size else _refuse("body", "the route takes none")
    if headers.get("content-encoding", ["identity"]) != ["identity"]:
        _refuse("body", "it is compressed")
    words = [word.strip().lower() for word in headers.get("content-type", [""])[0].split(";")]
    if words not in (["application/json"], ["application/json", "charset=utf-8"]):
        _refuse("body", "its type is not application/json")
    return parse_object(request.body, field="http.body")


def _typed(name: str, text: str, integers: Sequence[str]) -> JsonValue:
    if name not in integers:
        return text
    digits = text.removeprefix("-")
    plain = digits.isascii() and digits.isdigit() and len(digits) < len(str(SAFE_INTEGER))
    if not plain or str(int(text)) != text:
        _refuse(name, "is not a plain whole number")
    return int(text)


def _encoded(text: str, part: str) -> Iterator[int]:
    """Yield the bytes that are percent-encoded in ``text``."""
    for piece in text.split("%")[1:]:
        if len(piece) < 2 or not _HEX.issuperset(piece[:2]):  # noqa: PLR2004 - two digits
            _refuse(part, "a percent sign encodes nothing")
        yield int(piece[:2], 16)


def _decoded(text: str, part: str) -> str:
    list(_encoded(text, part))
    first, *rest = text.split("%")
    data = first.encode() + b"".join(bytes([int(piece[:2], 16)]) + piece[2:].encode() for piece in rest)
    try:
        value = data.decode()
    except UnicodeDecodeError:
        _refuse(part, "it is not UTF-8")
    if any(map(_is_control, value)):
        _refuse(part, "it holds control characters")
    return value


def _is_control(character: str) -> bool:
    return ord(character) < ord(" ") or "\x7f" <= character <= "\x9f"


def _refuse(part: str, why: str) -> NoReturn:
    raise InvalidRequestError(f"http.{part}: {why}", hint="Send the request in its plainest form", field=f"http.{part}")
