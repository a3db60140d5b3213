"""The API page: services, messages and enums with the comments that stand in the protos."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

import grpc_tools
from aisecops_server.domain.callers.identity import Role
from aisecops_server.entrypoints.grpc.access import ROLES_OF_CALL
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from docs.generate.markdown import code, one_line, table

ROOT = Path(__file__).resolve().parents[2]
INTRODUCTION = """# API

Package `aisecops.v1`, over gRPC and, for every call with one request, as [JSON over HTTP](../how-to/use-json.md).
Every error carries a `google.rpc.ErrorInfo` whose reason is one of the
[error reasons](error-reasons.md). A denial is an answer with status `OK`, not an error. Who asks is never read from a
message: it is the client certificate of the connection, or a token in the metadata `authorization: Bearer <token>`.

"""

_File = descriptor_pb2.FileDescriptorProto
_Field = descriptor_pb2.FieldDescriptorProto
_Comments = Mapping[tuple[int, ...], str]
_SCALARS = {
    _Field.TYPE_BOOL: "bool",
    _Field.TYPE_BYTES: "bytes",
    _Field.TYPE_DOUBLE: "double",
    _Field.TYPE_INT32: "int32",
    _Field.TYPE_INT64: "int64",
    _Field.TYPE_STRING: "string",
    _Field.TYPE_UINT32: "uint32",
    _Field.TYPE_UINT64: "uint64",
}


def page() -> str:
    """Return the page."""
    files = descriptors()
    services = [part for file in files for part in _services(file)]
    messages = [part for file in files for part in _messages(file)]
    enums = [part for file in files for part in _enums(file)]
    contents = INTRODUCTION + "## Services\n\n" + "\n".join(services)
    return contents + "\n## Messages\n\n" + "\n".join(messages) + "\n## Enums\n\n" + "\n".join(enums)


def descriptors() -> list[_File]:
    """Return the files of the API with their comments, compiled from the protos.

    Raises:
        RuntimeError: the protos do not compile.
    """
    protos = sorted(path.relative_to(ROOT / "proto") for path in (ROOT / "proto/aisecops/v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "image"
        well_known = resources.files(grpc_tools) / "_proto"
        arguments = [
            f"-I{ROOT / 'proto'}",
            f"-I{well_known}",
            "--include_source_info",
            f"--descriptor_set_out={output}",
        ]
        if protoc.main(["protoc", *arguments, *map(str, protos)]) != 0:
            raise RuntimeError("the protos do not compile")
        return list(descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file)


def comments(file: _File) -> _Comments:
    """Return the leading comment of everything in ``file``, by its path in the descriptor."""
    return {tuple(location.path): one_line(location.leading_comments) for location in file.source_code_info.location}


def _services(file: _File) -> Iterator[str]:
    said = comments(file)
    for at, service in enumerate(file.service):
        rows = []
        for method_at, method in enumerate(service.method):
            request, response = (name.rpartition(".")[2] for name in (method.input_type, method.output_type))
            request_form = f"{'stream ' if method.client_streaming else ''}[{request}](#{request.lower()})"
            response_form = f"{'stream ' if method.server_streaming else ''}[{response}](#{response.lower()})"
            roles = ROLES_OF_CALL[f"/{file.package}.{service.name}/{method.name}"]
            callers = " ".join(code(role) for role in Role if role in roles)
            rows.append([code(method.name), request_form, response_form, callers, said.get((6, at, 2, method_at), "")])
        yield f"### {service.name}\n\n{said.get((6, at), '')}\n\n" + table(
            ["rpc", "request", "response", "roles", "what it does"], rows
        )


def _messages(file: _File) -> Iterator[str]:
    said = comments(file)
    for at, message in enumerate(file.message_type):
        rows = [
            [code(field.name), _type(field), _with_choice(message, field, said.get((4, at, 2, field_at), ""))]
            for field_at, field in enumerate(message.field)
        ]
        body = "\n" + table(["field", "type", "meaning"], rows) if rows else ""
        yield f"### {message.name}\n\n{said.get((4, at), '')}\n{body}"


def _with_choice(message: descriptor_pb2.DescriptorProto, field: _Field, comment: str) -> str:
    if not field.HasField("oneof_index"):
        return comment
    return f"{comment} (One of `{message.oneof_decl[field.oneof_index].name}`.)"


def _enums(file: _File) -> Iterator[str]:
    said = comments(file)
    for at, enum in enumerate(file.enum_type):
        rows = [
            [code(value.name), str(value.number), said.get((5, at, 2, value_at), "")]
            for value_at, value in enumerate(enum.value)
        ]
        yield f"### {enum.name}\n\n{said.get((5, at), '')}\n\n" + table(["value", "number", "meaning"], rows)


def _type(field: _Field) -> str:
    repeated = "repeated " if field.label == _Field.LABEL_REPEATED else ""
    if not field.type_name:
        return repeated + code(_SCALARS[field.type])
    parent, _, name = field.type_name.rpartition(".")
    if name == f"{field.name.title().replace('_', '')}Entry" and not parent.endswith(".v1"):
        return code("map<string, string>")
    ours = field.type_name.startswith(".aisecops.")
    return repeated + (f"[{name}](#{name.lower()})" if ours else code(field.type_name.removeprefix(".")))
