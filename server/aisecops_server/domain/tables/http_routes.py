"""Which HTTP request is which tool call: the table that people edit, and how a route is found.

A request that no route describes is no call that policy knows, and is denied. Segments of a path that are written out
come before those that are a parameter, as in OpenAPI; two routes that differ in nothing else are refused when the table
is compiled.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, RootModel, model_validator

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tables.table_fields import Entry, Text, ToolName

PARAMETER = "{"
# What speaks for somebody is no argument of a call.
SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "aisecops-authorization"})
_LITERAL = frozenset(string.ascii_letters + string.digits + "._~-")

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
Host = Annotated[str, Field(pattern=r"^[a-z0-9.\-]+(:[0-9]{1,5})?$")]
HeaderName = Annotated[str, Field(pattern=r"^[a-z0-9\-]+$")]
Parameter = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]+$")]


class RouteEntry(Entry):
    """The HTTP requests that are calls of one tool. Everything in them that reaches the tool is an argument."""

    method: Method
    host: Host = Field(description="As agents name it, in lower case; the port only where it is not the usual one.")
    path: Text = Field(description="Such as `/orders/{order_id}/refunds`; each `{name}` is an argument.")
    tool: ToolName
    environment: Text = Field(description="Where the call acts; a request cannot say it.")
    query: list[Parameter] = Field(
        default_factory=list, description="Parameters that may stand in the query, each an argument of its name."
    )
    headers: dict[HeaderName, Parameter] = Field(
        default_factory=dict, description="Headers that are arguments, and under which name."
    )
    body: Literal["none", "json"] = Field(
        default="none", description="`json`: an object whose fields are arguments; `none`: a body is refused."
    )
    integers: list[Parameter] = Field(
        default_factory=list, description="Arguments of path, query and headers that are whole numbers and no text."
    )

    @property
    def segments(self) -> tuple[str, ...]:
        """Return the path's segments; one that is a parameter begins with a brace."""
        return tuple(self.path.removeprefix("/").split("/")) if self.path != "/" else ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return every argument that does not come from the body."""
        in_path = [part[1:-1] for part in self.segments if part.startswith(PARAMETER)]
        return (*in_path, *self.query, *self.headers.values())

    @model_validator(mode="after")
    def _is_unambiguous(self) -> RouteEntry:
        if not self.path.startswith("/") or not all(map(_is_segment, self.segments)):
            raise ValueError(f"the path {self.path} is not /literal/{{parameter}}/…")
        if len(set(self.names)) != len(self.names):
            raise ValueError("two arguments have the same name")
        if unknown := sorted(set(self.integers).difference(self.names)):
            raise ValueError(f"integers: '{unknown[0]}' is no argument of path, query or headers")
        if secret := sorted(SECRET_HEADERS.intersection(self.headers)):
            raise ValueError(f"headers: '{secret[0]}' carries a credential, which is no argument")
        return self


class Routes(RootModel[dict[Text, RouteEntry]]):
    """HTTP requests that are tool calls, by a name for each."""

    root: dict[Text, RouteEntry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _are_told_apart(self) -> Routes:
        seen: dict[object, str] = {}
        for name, entry in self.root.items():
            shape = tuple(PARAMETER if part.startswith(PARAMETER) else part for part in entry.segments)
            other = seen.setdefault((entry.host, entry.method, shape), name)
            if other != name:
                raise ValueError(f"'{name}' and '{other}' describe the same requests")
        return self

    def compiled(self) -> dict[str, JsonValue]:
        """Return the routes by host and method, the one that is looked at first in front."""
        found: dict[str, dict[str, list[JsonValue]]] = {}
        for name, entry in sorted(self.root.items(), key=lambda item: _order(item[1])):
            listed = found.setdefault(entry.host, {}).setdefault(entry.method, [])
            listed.append(
                {
                    "name": name,
                    "segments": list(entry.segments),
                    **entry.model_dump(mode="json", exclude={"host", "method", "path"}),
                }
            )
        return {host: dict(methods) for host, methods in found.items()}


def find_route(
    routes: Mapping[str, Any], *, host: str, method: str, segments: Sequence[str]
) -> Mapping[str, Any] | None:
    """Return the compiled route that describes a request, or nothing; ``segments`` are those of its raw path."""
    for route in routes.get(host, {}).get(method, ()):
        template = route["segments"]
        if len(template) == len(segments) and all(map(_fits, template, segments)):
            found: Mapping[str, Any] = route
            return found
    return None


def _fits(part: str, segment: str) -> bool:
    return part.startswith(PARAMETER) or part == segment


def _order(entry: RouteEntry) -> list[tuple[bool, str]]:
    return [(part.startswith(PARAMETER), part) for part in entry.segments]


def _is_segment(part: str) -> bool:
    if part.startswith(PARAMETER):
        return part.endswith("}") and len(part) > len("{}") and (_LITERAL | {"_"}).issuperset(part[1:-1])
    return bool(part) and part not in {".", ".."} and (_LITERAL | {"_"}).issuperset(part)
