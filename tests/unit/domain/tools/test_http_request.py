from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError, NotFoundError
from aisecops_server.domain.tables.http_routes import Routes
from aisecops_server.domain.tools.http_request import HttpRequest, read_call
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

HOST = "crm.example"
ROUTES: dict[str, Any] = {
    "find": {
        "method": "GET",
        "path": "/customers",
        "tool": "crm/find",
        "query": ["query", "limit"],
        "integers": ["limit"],
    },
    "search": {"method": "GET", "path": "/customers/search", "tool": "crm/search"},
    "read": {
        "method": "GET",
        "path": "/customers/{customer_id}",
        "tool": "crm/read",
        "headers": {"x-reason": "reason"},
    },
    "pay": {
        "method": "POST",
        "path": "/orders/{order}/refunds",
        "tool": "crm/pay",
        "body": "json",
        "integers": ["order"],
    },
    "root": {"method": "GET", "path": "/", "tool": "crm/root"},
}
TABLE = Routes.model_validate(
    {name: {"host": HOST, "environment": "production", **entry} for name, entry in ROUTES.items()}
).compiled()
JSON = [("content-type", "application/json")]


def read(path: str, *, method: str = "GET", host: str = HOST, scheme: str = "https", **rest: Any) -> Any:
    headers = rest.pop("headers", ())
    return read_call(HttpRequest(method=method, scheme=scheme, host=host, path=path, headers=headers, **rest), TABLE)


def refusal(path: str, **rest: Any) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        read(path, **rest)
    return refused.value.metadata()["field"]


def pay(body: bytes, *headers: tuple[str, str], size: int = -1) -> Any:
    return read("/orders/7/refunds", method="POST", body=body, headers=[*JSON, *headers], size=size)


def test_path_query_headers_and_body_become_arguments():
    found = read("/customers?query=Lindt%20%26%20Co&limit=20")
    assert (found.route, found.tool, found.environment) == ("find", "crm/find", "production")
    assert found.arguments == {"query": "Lindt & Co", "limit": 20}
    assert read("/customers/C-9", headers=[("X-Reason", "asked")]).arguments == {
        "customer_id": "C-9",
        "reason": "asked",
    }
    assert pay(b'{"amount": 5}').arguments == {"order": 7, "amount": 5}
    assert read("/").arguments == {}


def test_what_is_written_out_comes_before_a_parameter():
    assert read("/customers/search").tool == "crm/search"
    assert read("/customers/searches").arguments == {"customer_id": "searches"}


@pytest.mark.parametrize("host", ["CRM.example", "crm.example:443"])
def test_a_host_is_the_same_in_capitals_and_with_the_usual_port(host):
    assert read("/customers/search", host=host).tool == "crm/search"


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        ("/admin", {}),
        ("/customers/1/2", {}),
        ("/customers/search", {"method": "POST"}),
        ("/customers/search", {"method": "get"}),
        ("/customers/search", {"host": "other.example"}),
        ("/customers/search", {"host": "crm.example:8443"}),
        ("/customers/search", {"host": "crm.example:443", "scheme": "http"}),
    ],
)
def test_what_no_route_describes_is_no_call(path, rest):
    with pytest.raises(NotFoundError):
        read(path, **rest)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "customers",
        "https://crm.example/customers",
        "*",
        "//customers",
        "/customers/",
        "/customers//search",
        "/customers/.",
        "/customers/..",
        "/customers/../admin",
        "/customers/%2e%2e",
        "/customers/.%2E/admin",
        "/customers/a%2fb",
        "/customers/a%5Cb",
        "/customers/a\\b",
        "/customers/%252e",
        "/customers/%73earch",
        "/customers/a;b",
        "/customers/a%3bb",
        "/customers/%00",
        "/customers/a%0d%0ab",
        "/customers/%",
        "/customers/%4",
        "/customers/%zz",
        "/customers/%c3%28",
        "/customers/%ed%a0%80",
        "/customers/%c0%ae",
        "/customers/ä",
        "/customers/a b",
        "/customers/a#b",
        "/customers/a\r\nx",
        "/" + "a" * 9000,
    ],
)
def test_paths_that_readers_take_for_different_things_are_refused(path):
    assert refusal(path) == "http.path"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("query=a&query=b", "http.query"),
        ("query=a&other=b", "http.query"),
        ("query", "http.query"),
        ("query=a+b", "http.query"),
        ("query=a;b", "http.query"),
        ("query=a%", "http.query"),
        ("query=%00", "http.query"),
        ("%71uery=a", "http.query"),
        ("query=a&", "http.query"),
        ("&query=a", "http.query"),
        ("query=a#b", "http.query"),
        ("limit=1e3", "http.limit"),
        ("limit=007", "http.limit"),
        ("limit=%201", "http.limit"),
        ("limit=٣", "http.query"),
        ("limit=99999999999999999999", "http.limit"),
        ("", "http.path"),
    ],
)
def test_queries_that_readers_take_for_different_things_are_refused(query, field):
    assert refusal(f"/customers?{query}") == field


@pytest.mark.parametrize(
    "headers",
    [
        [("x-http-method-override", "DELETE")],
        [("X-HTTP-Method", "DELETE")],
        [("x-original-url", "/admin")],
        [("x-rewrite-url", "/admin")],
        [("host", "other.example")],
        [("x-forwarded-host", "other.example")],
        [("host", HOST), ("Host", HOST)],
        [(":method", "POST")],
        [(":path", "/admin")],
        [(":authority", "other.example")],
        [("content-length", "0"), ("content-length", "5")],
        [("content-length", "0,5")],
        [("content-length", "-1")],
        [("content-length", "0"), ("transfer-encoding", "chunked")],
        [("content_length", "7")],
        [("x_reason", "a"), ("x-reason", "b")],
        [("x-reason", "a"), ("x-reason", "b")],
        [("x-reason", "a,b")],
        [("x-reason", "a\r\nhost: other")],
        [("x reason", "a")],
        [("", "a")],
        [("aisecops-approval", "a"), ("aisecops-approval", "b")],
    ],
)
def test_headers_that_contradict_or_are_smuggled_are_refused(headers):
    assert refusal("/customers/C-9", headers=headers) == "http.headers"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", []),
        (b"[]", []),
        (b"{", []),
        (b'{"amount": 1, "amount": 2}', []),
        (b'{"a\\u006dount": 1, "amount": 2}', []),
        (b'{"amount": NaN}', []),
        (b'\xef\xbb\xbf{"amount": 1}', []),
        (b'{"amount": 1e400}', []),
        (b'{"order": 8}', []),
        (b'{"amount": 1}', [("content-length", "5")]),
        (b'{"amount": 1}', [("content-encoding", "gzip")]),
        (b'{"amount": 1}', [("x-envoy-auth-partial-body", "true")]),
        (b'{"amount": 1}', [("content-type", "text/plain")]),
        (b'{"amount": "' + b"x" * 300_000 + b'"}', []),
    ],
)
def test_bodies_that_are_not_one_plain_object_are_refused(body, headers):
    with pytest.raises(InvalidRequestError):
        pay(body, *headers)


@pytest.mark.parametrize("kind", ["application/xml", "application/json; charset=utf-16", "application/jsonp", ""])
def test_another_type_of_body_is_refused(kind):
    with pytest.raises(InvalidRequestError):
        read("/orders/7/refunds", method="POST", body=b"{}", headers=[("content-type", kind)])


def test_a_body_is_refused_where_the_route_takes_none_or_where_it_is_not_whole():
    assert refusal("/customers/search", body=b"{}") == "http.body"
    with pytest.raises(InvalidRequestError):
        pay(b'{"amount": 1}', size=100)
    assert pay(b'{"amount": 1}', ("content-length", "13"), size=13).arguments["amount"] == 1


texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)


@given(texts)
def test_whatever_stands_in_a_query_is_read_as_every_reader_does(text):
    assert read(f"/customers?query={quote(text, safe='')}").arguments == {"query": text}


@given(st.text(st.sampled_from("abcdefgh%./\\?&=;+#0123456789AF \r\n\x00ä"), max_size=24))
def test_a_path_is_read_as_itself_or_refused(text):
    """What passes holds no dots, slashes or encodings that somebody downstream might undo."""
    try:
        found = read(f"/customers/{text}")
    except AisecopsError:
        return
    value = found.arguments.get("customer_id", "search")
    assert not set(value) & set("/\\\r\n\x00%;")
    assert value not in {"", ".", ".."}


ENTRY = {"method": "GET", "host": HOST, "path": "/a/{x}", "tool": "crm/find", "environment": "production"}


@pytest.mark.parametrize(
    "change",
    [
        {"path": "a"},
        {"path": "/a/"},
        {"path": "/a/../b"},
        {"path": "/a/{x}y"},
        {"path": "/a/{}"},
        {"path": "/a/{x}/{x}"},
        {"path": "/a/%62"},
        {"query": ["x"]},
        {"headers": {"x-a": "x"}},
        {"headers": {"authorization": "token"}},
        {"headers": {"cookie": "token"}},
        {"headers": {"X-A": "a"}},
        {"integers": ["y"]},
        {"host": "CRM.example"},
        {"host": "*"},
        {"method": "TRACE"},
        {"extra": True},
    ],
)
def test_a_route_that_is_not_clear_is_refused(change):
    with pytest.raises(ValidationError):
        Routes.model_validate({"one": {**ENTRY, **change}})


def test_two_routes_of_one_shape_are_refused():
    with pytest.raises(ValidationError, match="describe the same requests"):
        Routes.model_validate({"one": ENTRY, "two": {**ENTRY, "path": "/a/{y}"}})
