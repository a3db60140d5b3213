"""Our writing of Envoy's messages is theirs on the wire: numbers, names and types are those of the official ones."""

from __future__ import annotations

import pytest
from aisecops.v1 import ext_authz_pb2 as ours
from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import attribute_context_pb2, external_auth_pb2
from envoy.type.v3 import http_status_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.rpc import status_pb2

CONTEXT = attribute_context_pb2.AttributeContext
PAIRS = {
    ours.ExtAuthzRequest: external_auth_pb2.CheckRequest,
    ours.ExtAuthzAttributes: CONTEXT,
    ours.ExtAuthzPeer: CONTEXT.Peer,
    ours.ExtAuthzDescription: CONTEXT.Request,
    ours.ExtAuthzHttp: CONTEXT.HttpRequest,
    ours.ExtAuthzHeaderMap: base_pb2.HeaderMap,
    ours.ExtAuthzHeader: base_pb2.HeaderValue,
    ours.ExtAuthzResponse: external_auth_pb2.CheckResponse,
    ours.ExtAuthzResult: status_pb2.Status,
    ours.ExtAuthzDenied: external_auth_pb2.DeniedHttpResponse,
    ours.ExtAuthzOk: external_auth_pb2.OkHttpResponse,
    ours.ExtAuthzStatus: http_status_pb2.HttpStatus,
    ours.ExtAuthzHeaderOption: base_pb2.HeaderValueOption,
}
# An enum is a varint, as a number is.
SAME = {FieldDescriptor.TYPE_ENUM: FieldDescriptor.TYPE_INT32}


def shape(descriptor: Descriptor) -> dict[str, tuple[object, ...]]:
    return {
        field.name: (
            field.number,
            SAME.get(field.type, field.type),
            field.is_repeated,
            bool(field.message_type and field.message_type.GetOptions().map_entry),
        )
        for field in descriptor.fields
    }


def test_every_message_of_ours_has_its_official_one():
    assert {message.DESCRIPTOR for message in PAIRS} == set(ours.DESCRIPTOR.message_types_by_name.values())


@pytest.mark.parametrize(("message", "official"), PAIRS.items(), ids=lambda kind: kind.DESCRIPTOR.name)
def test_fields_are_the_official_ones(message, official):
    theirs = shape(official.DESCRIPTOR)
    for name, field in shape(message.DESCRIPTOR).items():
        assert theirs[name] == field


def test_what_is_a_message_there_is_the_right_one_here():
    kinds = {message.DESCRIPTOR.full_name: official.DESCRIPTOR.full_name for message, official in PAIRS.items()}
    for message, official in PAIRS.items():
        for field in message.DESCRIPTOR.fields:
            if field.message_type and field.message_type.full_name in kinds:
                theirs = official.DESCRIPTOR.fields_by_name[field.name].message_type.full_name
                assert kinds[field.message_type.full_name] == theirs
