"""The API as an OpenAPI 3.1 document: what the JSON gateway answers, read off the protos and the table of roles."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aisecops_server.domain.callers.identity import Role
from aisecops_server.entrypoints.grpc.access import ROLES_OF_CALL
from google.protobuf import descriptor_pb2

from docs.generate.api import ROOT, comments, descriptors

SHOWN = ROOT / "docs/reference/openapi.json"
SERVED = ROOT / "server/aisecops_server/entrypoints/web/openapi.json"

_File = descriptor_pb2.FileDescriptorProto
_Field = descriptor_pb2.FieldDescriptorProto
_Message = descriptor_pb2.DescriptorProto
_Schema = dict[str, Any]
_JSON, _EVENTS = "application/json", "text/event-stream"
_PACKAGE = ".aisecops.v1."
_ABOUT = """Every call of the API with one request as JSON over HTTP: the same calls as over gRPC, with the same roles.
A denial is an answer with status 200. Messages are protobuf's JSON: what has its default value is left out, and names
may also be given as in the protos. JSON is read strictly: a field that there is not is refused by its name."""
_SCALARS: Mapping[int, _Schema] = {
    _Field.TYPE_BOOL: {"type": "boolean"},
    _Field.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    _Field.TYPE_DOUBLE: {"type": "number", "format": "double"},
    _Field.TYPE_INT32: {"type": "integer", "format": "int32"},
    _Field.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"},
    _Field.TYPE_STRING: {"type": "string"},
    _Field.TYPE_UINT32: {"type": "integer", "format": "uint32", "minimum": 0},
    _Field.TYPE_UINT64: {"type": "string", "format": "uint64", "pattern": "^[0-9]+$"},
}
_WELL_KNOWN: Mapping[str, _Schema] = {
    ".google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    ".google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
}
_PARAMETERS: Mapping[str, _Schema] = {
    "Timeout": {
        "name": "Grpc-Timeout",
        "in": "header",
        "description": "How long the caller waits, such as `5S` or `500m`.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,8}[HMSmun]$"},
    },
    "TraceParent": {
        "name": "traceparent",
        "in": "header",
        "description": "The caller's trace, as W3C Trace Context has it.",
        "schema": {"type": "string"},
    },
    "LastEventId": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The id of the last event that was read; the stream goes on behind it.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
    },
}
_STATUS: _Schema = {
    "type": "object",
    "description": "A google.rpc.Status: why there is no answer.",
    "required": ["code", "message", "details"],
    "properties": {
        "code": {"type": "integer", "description": "The number of gRPC's status code."},
        "message": {"type": "string", "description": "What is wrong, and what to do."},
        "details": {
            "type": "array",
            "description": "One of them is a google.rpc.ErrorInfo, with the reason.",
            "items": {"type": "object", "required": ["@type"], "properties": {"@type": {"type": "string"}}},
        },
    },
}


def page() -> str:
    """Return the document; the same protos give the same bytes."""
    files = descriptors()
    requests = {method.input_type for file in files for service in file.service for method in service.method}
    schemas = {"Status": _STATUS}
    for file in files:
        schemas.update(_messages(file, requests))
        schemas.update(_enums(file))
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "aisecops",
            "version": "v1",
            "description": " ".join(_ABOUT.split()),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [tag for file in files for tag in _tags(file)],
        "paths": {path: item for file in files for path, item in _paths(file, files)},
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "parameters": dict(_PARAMETERS),
            "responses": {"Failure": {"description": "There is no answer.", "content": _content(_reference("Status"))}},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _tags(file: _File) -> Iterator[_Schema]:
    said = comments(file)
    for at, service in enumerate(file.service):
        yield {"name": service.name, "description": said.get((6, at), "")}


def _paths(file: _File, files: Sequence[_File]) -> Iterator[tuple[str, _Schema]]:
    said = comments(file)
    log_readers = {_PACKAGE + kind.name for one in files for kind in one.message_type if _reads_the_log(kind)}
    for at, service in enumerate(file.service):
        for method_at, method in enumerate(service.method):
            # What takes many requests is gRPC's alone.
            if method.client_streaming:
                continue
            resumed = method.server_streaming and method.input_type in log_readers
            roles = ROLES_OF_CALL[f"/{file.package}.{service.name}/{method.name}"]
            answer = _reference(method.output_type.removeprefix(_PACKAGE))
            operation = {
                "operationId": f"{service.name}_{method.name}",
                "tags": [service.name],
                "description": said.get((6, at, 2, method_at), ""),
                "x-roles": [role.value for role in Role if role in roles],
                "parameters": [
                    {"$ref": f"#/components/parameters/{name}"}
                    for name in ("Timeout", "TraceParent", *(["LastEventId"] if resumed else []))
                ],
                "requestBody": {
                    "required": True,
                    "content": _content(_reference(method.input_type.removeprefix(_PACKAGE))),
                },
                "responses": {
                    "200": _stream(answer) if method.server_streaming else _answer(answer),
                    "default": {"$ref": "#/components/responses/Failure"},
                },
            }
            yield f"/api/v1/{service.name}/{method.name}", {"post": operation}


def _reads_the_log(kind: _Message) -> bool:
    return any(field.name == "from_index" for field in kind.field)


def _answer(answer: _Schema) -> _Schema:
    return {"description": "The answer.", "content": _content(answer)}


def _stream(answer: _Schema) -> _Schema:
    told = (
        "Server-sent events: a `message` for each answer, comments between them, then `end`, or `error` with a Status."
    )
    return {"description": told, "content": {_EVENTS: {"schema": {"type": "string"}, "x-event-data": answer}}}


def _content(schema: _Schema) -> _Schema:
    return {_JSON: {"schema": schema}}


def _reference(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _messages(file: _File, requests: set[str]) -> Iterator[tuple[str, _Schema]]:
    said = comments(file)
    for at, message in enumerate(file.message_type):
        maps = {
            f"{_PACKAGE}{message.name}.{entry.name}": entry for entry in message.nested_type if entry.options.map_entry
        }
        properties = {
            field.json_name: _described(_field(field, maps), _with_choice(message, field, said.get((4, at, 2, n), "")))
            for n, field in enumerate(message.field)
        }
        schema: _Schema = {"type": "object", "description": said.get((4, at), ""), "properties": properties}
        # Answers may grow; a request with anything else in it is refused.
        if _PACKAGE + message.name in requests:
            schema["additionalProperties"] = False
        yield message.name, schema


def _enums(file: _File) -> Iterator[tuple[str, _Schema]]:
    said = comments(file)
    for at, enum in enumerate(file.enum_type):
        values = [f"`{value.name}`: {said.get((5, at, 2, n), '')}" for n, value in enumerate(enum.value)]
        description = " ".join([said.get((5, at), ""), *values])
        yield enum.name, {"type": "string", "description": description, "enum": [value.name for value in enum.value]}


def _field(field: _Field, maps: Mapping[str, _Message]) -> _Schema:
    if field.type_name in maps:
        (value,) = [part for part in maps[field.type_name].field if part.name == "value"]
        return {"type": "object", "additionalProperties": _one(value)}
    one = _one(field)
    return {"type": "array", "items": one} if field.label == _Field.LABEL_REPEATED else one


def _one(field: _Field) -> _Schema:
    if not field.type_name:
        return dict(_SCALARS[field.type])
    known = _WELL_KNOWN.get(field.type_name)
    return dict(known) if known else _reference(field.type_name.removeprefix(_PACKAGE))


def _described(schema: _Schema, text: str) -> _Schema:
    return {**schema, "description": text} if text else schema


def _with_choice(message: _Message, field: _Field, comment: str) -> str:
    if not field.HasField("oneof_index") or field.proto3_optional:
        return comment
    return f"{comment} (At most one of `{message.oneof_decl[field.oneof_index].name}`.)"
