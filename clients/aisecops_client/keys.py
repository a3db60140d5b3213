"""Keys that sign evidence packages and bundles: which sign, how they came to that, and having another one sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from aisecops.v1 import key_service_pb2 as api
from aisecops.v1.key_service_pb2_grpc import KeyServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error

_R = TypeVar("_R")


def signing_keys(client: Client, use: api.KeyUse.ValueType) -> api.GetKeysResponse:
    """Return the public key that signs for ``use``, and the rotations that lead to it from the first one.

    Raises:
        AisecopsClientError: they cannot be told.
    """
    return _answer(KeyServiceStub(client.channel).GetKeys, api.GetKeysRequest(use=use), client)


def rotate_signing_key(
    client: Client, use: api.KeyUse.ValueType, *, reason: str, revoke: bool = False
) -> api.RotateKeyResponse:
    """Have another key sign for ``use``; with ``revoke`` nothing counts any more that earlier keys signed.

    Raises:
        AisecopsClientError: it was not rotated.
    """
    request = api.RotateKeyRequest(use=use, reason=reason, revoke=revoke)
    return _answer(KeyServiceStub(client.channel).RotateKey, request, client)


def _answer(call: Callable[..., _R], request: Any, client: Client) -> _R:
    try:
        return call(request, metadata=client.metadata, timeout=client.work_seconds)
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
