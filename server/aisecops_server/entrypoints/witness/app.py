"""The HTTP face of a witness: ``POST /add-checkpoint``, as C2SP `tlog-witness` describes it, and ``POST /add-key``.

The second is ours: it tells the witness by which key the one that it knows a log by was followed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import re
from collections.abc import AsyncIterator

from aiohttp import web

from aisecops_server.domain.errors import (
    AisecopsError,
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    NotPermittedError,
)
from aisecops_server.domain.formats.signed_note import MOST_CHARACTERS, Note, NoteSignature, read_note
from aisecops_server.domain.log.merkle import HASH_BYTES
from aisecops_server.domain.log.witnessing import Behind, Refused
from aisecops_server.usecases.log.witness import MOST_PROOF_HASHES, Cosign

SIZE_TYPE = "text/x.tlog.size"
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_STATUS: dict[type[AisecopsError], int] = {
    InvalidRequestError: 400,
    IntegrityError: 400,
    NotPermittedError: 403,
    NotFoundError: 404,
}


def application(cosign: Cosign) -> web.Application:
    """Return the service. Requests are answered one after another, so that what was signed never moves backwards."""
    one_at_a_time = asyncio.Lock()

    async def add_checkpoint(request: web.Request) -> web.Response:
        try:
            note, old_size, proof = _read(await request.text())
            async with one_at_a_time:
                answer = await cosign(note, old_size=old_size, proof=proof)
        except AisecopsError as error:
            return web.Response(status=_STATUS.get(type(error), 503), text=f"{error.diagnostics()}\n")
        except UnicodeDecodeError:
            return web.Response(status=400, text="the request is not UTF-8\n")
        return _response(answer)

    async def add_key(request: web.Request) -> web.Response:
        try:
            async with one_at_a_time:
                key = await cosign.follow(await request.text())
        except AisecopsError as error:
            return web.Response(status=_STATUS.get(type(error), 503), text=f"{error.diagnostics()}\n")
        except UnicodeDecodeError:
            return web.Response(status=400, text="the request is not UTF-8\n")
        return web.Response(text=f"{key.text()}\n")

    made = web.Application(client_max_size=2 * MOST_CHARACTERS)
    made.router.add_post("/add-checkpoint", add_checkpoint)
    made.router.add_post("/add-key", add_key)
    return made


@contextlib.asynccontextmanager
async def listening(cosign: Cosign, address: str) -> AsyncIterator[int]:
    """Serve on ``host:port`` while the block runs; gives the port, which was chosen if 0 was asked for.

    Raises:
        InvalidRequestError: the address cannot be listened on.
    """
    host, _, port = address.rpartition(":")
    runner = web.AppRunner(application(cosign), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    except (OSError, ValueError, OverflowError) as error:
        await runner.cleanup()
        raise InvalidRequestError(
            f"cannot listen on {address}", hint="Give a free host:port of this machine", field="listen"
        ) from error
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _response(answer: NoteSignature | Behind | Refused) -> web.Response:
    match answer:
        case NoteSignature():
            return web.Response(text=f"{answer.line()}\n")
        case Behind():
            return web.Response(status=409, text=f"{answer.size}\n", content_type=SIZE_TYPE)
        case Refused():
            return web.Response(status=422, text=f"{answer.why}\n")


def _read(body: str) -> tuple[Note, int, list[bytes]]:
    head, separator, written = body.partition("\n\n")
    first, *lines = head.split("\n")
    old = _OLD.fullmatch(first)
    if not separator or old is None or len(lines) > MOST_PROOF_HASHES:
        raise InvalidRequestError("the request is not an old size, a proof and a checkpoint", field="body")
    try:
        proof = [base64.b64decode(line, validate=True) for line in lines]
    except (ValueError, binascii.Error) as error:
        raise InvalidRequestError("a line of the proof is not base64", field="body") from error
    if any(len(node) != HASH_BYTES for node in proof):
        raise InvalidRequestError("a line of the proof is no hash", field="body")
    return read_note(written), int(old[1]), proof
