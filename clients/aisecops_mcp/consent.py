"""Asking at the client about a call that people have to approve, so that it waits for them and need not be made again.

Nobody proved who sits at the client: it belongs to the agent that wants the call. So what is answered there is never a
vote. Accepting means to wait for those who may approve, declining takes the request back; the call is made by an
approval of the control plane or not at all. Clients of the era with connections (2025-11-25) are asked by
``elicitation/create``, those of the era without (2026-07-28) by a result that wants input, to which they come back with
the same call. Who can be asked in neither way gets the id of the request, as before.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aisecops_client import AisecopsClientError, ApprovalRequiredError, CallDeniedError
from aisecops_grant.arguments import canonical_arguments

from aisecops_mcp import jsonrpc, telling
from aisecops_mcp.governor import ApprovalRefusedError, Governor
from aisecops_mcp.jsonrpc import Message, MessageId
from aisecops_mcp.session import Session
from aisecops_mcp.talk import Say, shown

ASKING = "elicitation/create"
# Tells that what was asked for at an address is done (2025-11-25).
COMPLETED = "notifications/elicitation/complete"
# What may answer that it wants input first, in the era without connections.
INTERRUPTED = frozenset({"tools/call", "resources/read", "prompts/get"})
# Below the minute for which common clients wait for an answer.
APPROVAL_SECONDS = 45.0
KEY = f"{telling.OWN_META}approval"
# What no server can begin its own with: its names are refused there (``of_server``).
STATE = "aisecops."
QUESTION = "aisecops?"
_FORM_SINCE, _URL_SINCE = "2025-06-18", "2025-11-25"
_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
_TAKEN_BACK = "the person at the client did not want to wait, and the request was taken back"
# A call may wait for its tool's definition, and then for itself.
_QUESTIONS = 2
_STATES = 64
_CHARACTERS = 500

_T = TypeVar("_T")

Make = Callable[[Message], Awaitable[bytes]]


class QuestionError(LookupError):
    """A client answers a question that it was not asked."""


class InputDeniedError(Exception):
    """A call was made, and its server may not ask the client for what it wants to know before it answers."""

    def __init__(self, why: CallDeniedError) -> None:
        super().__init__(why.message)
        self.why = why


@dataclass(frozen=True, slots=True)
class Asking:
    """``seconds`` is how long a call waits for people; 0: nobody is asked at the client.

    ``page`` is where people open the UI, for clients that can open an address; empty: nowhere.

    Raises:
        ValueError: people would not be safe at that address.
    """

    seconds: float = APPROVAL_SECONDS
    page: str = ""

    def __post_init__(self) -> None:
        """Refuse an address that could be read along, or that holds more than where the UI is."""
        parts = urlsplit(self.page)
        local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        plain = parts.hostname and not (parts.query or parts.fragment or parts.username or parts.password)
        if self.page and not (plain and (parts.scheme == "https" or local)):
            raise ValueError(
                f"{self.page!r} is no address of the UI: https://HOST, or http:// on this machine, and nothing but it"
            )

    def page_of(self, approval_id: str) -> str:
        """Return where people answer a request; empty if that is not known."""
        return f"{self.page.rstrip('/')}/approvals/{approval_id}" if self.page else ""


@dataclass(frozen=True, slots=True)
class Modes:
    """In which ways a client can ask the person at it."""

    form: bool = False
    url: bool = False

    @classmethod
    def of(cls, capabilities: Any, version: str) -> Modes:
        """Return what a client announces, as far as the revision of the protocol that is spoken has it."""
        given = capabilities.get("elicitation") if isinstance(capabilities, Mapping) else None
        if not isinstance(given, Mapping):
            return cls()
        # Before there were two modes, there was no word for the one.
        return cls(
            form=version >= _FORM_SINCE and ("form" in given or "url" not in given),
            url=version >= _URL_SINCE and "url" in given,
        )


@dataclass(frozen=True, slots=True)
class _Parked:
    """A call that a client was asked about and comes back with; ``own`` is what it already said to its server."""

    approval_id: str
    about: str
    own: Mapping[str, Any]


@dataclass(slots=True)
class Consent:
    """Asks the client of one connection. ``send`` gives it a message in the course of one of its requests.

    ``governor`` gives that of the credential which the agent shows now.
    """

    governor: Callable[[], Governor]
    session: Session
    send: Callable[[bytes, MessageId | None], None]
    say: Say
    asking: Asking
    _modes: Modes = field(default=Modes(), init=False)
    _questions: dict[MessageId, asyncio.Future[Message]] = field(default_factory=dict, init=False)
    _parked: dict[str, _Parked] = field(default_factory=dict, init=False)

    def began(self, request: Message, answer: Message) -> None:
        """Know what a client can do, from the handshake."""
        version = str(answer.result.get("protocolVersion", ""))
        self._modes = Modes.of(request.params.get("capabilities"), version)

    def answered(self, message: Message) -> bool:
        """Take an answer of the client, if it is to a question from here; true then."""
        waiting = self._questions.get(message.id) if message.id is not None else None
        if waiting is None or waiting.done():
            return False
        waiting.set_result(message)
        return True

    async def call(self, message: Message, make: Make) -> bytes:
        """Return what ``make`` returns for a request, which waits for people where policy wants that.

        Raises:
            ApprovalRequiredError: they have not answered in time, or the client cannot be asked.
            ApprovalRefusedError: they said no, or the request was taken back.
            QuestionError: the request answers what was not asked.
        """
        message, known = await self._taken_up(message)
        if not telling.is_modern(message):
            return await self.patiently(lambda: make(message), message.id)
        try:
            return await make(message)
        except ApprovalRequiredError as error:
            pending = error
        except InputDeniedError as error:
            # What its server wants to ask has to be approved: the call is made again, and its server asks again.
            if not isinstance(error.why, ApprovalRequiredError):
                raise
            pending = error.why
        if pending.approval_id in known:
            raise pending
        return self._wants_input(message, pending)

    async def patiently(self, make: Callable[[], Awaitable[_T]], during: MessageId | None) -> _T:
        """Return what ``make`` returns, which waits for people where policy wants that and the client can be asked.

        ``during`` is the client's request in the course of which it is asked, where there is one.

        Raises:
            ApprovalRequiredError: they have not answered in time, or the client cannot be asked.
            ApprovalRefusedError: they said no, or the request was taken back.
        """
        known: set[str] = set()
        while True:
            try:
                return await make()
            except ApprovalRequiredError as error:
                if error.approval_id in known or len(known) == _QUESTIONS:
                    raise
                known.add(error.approval_id)
                if not await self._waited(error, during):
                    raise

    # --- with a connection -------------------------------------------------------------------------------------

    async def _waited(self, error: ApprovalRequiredError, during: MessageId | None) -> bool:
        """Ask at the client, and wait for people meanwhile; return whether they have decided.

        Raises:
            ApprovalRefusedError: the request was taken back.
        """
        if not self._can(self._modes):
            return False
        words = self._words(error)
        if (waiting := self.session.claimed(error.approval_id)) is None:
            return False
        number = f"{QUESTION}{self.governor().new_key()}"
        question = self._question(error, words, self._modes)
        asked = asyncio.create_task(self._asked(number, question, during))
        people = asyncio.create_task(self._decided(error.approval_id))
        try:
            await asyncio.wait({asked, people}, return_when=asyncio.FIRST_COMPLETED)
            answer = asked.result() if asked.done() else "accept"
            if answer == "decline":
                waiting = None
                await self._withdraw(error.approval_id)
            decided = answer == "accept" and await people
            if decided and "url" in question:
                self.send(jsonrpc.notification(COMPLETED, {"elicitationId": number}), during)
            return decided
        finally:
            for task in (asked, people):
                task.cancel()
            await asyncio.gather(asked, people, return_exceptions=True)
            # Whoever makes the same call next takes it up.
            if waiting is not None:
                self.session.waits(waiting, first=True)

    async def _asked(self, number: str, question: Mapping[str, Any], during: MessageId | None) -> str:
        """Return ``accept`` or ``decline``, or nothing for a client that does not ask."""
        named = {**question, "elicitationId": number} if "url" in question else question
        waiting = self._questions[number] = asyncio.get_running_loop().create_future()
        self.send(jsonrpc.request(number, ASKING, named), during)
        try:
            return _action((await waiting).result)
        except asyncio.CancelledError:
            told = {"requestId": number, "reason": "it is not waited for any more"}
            self.send(jsonrpc.notification("notifications/cancelled", told), during)
            raise
        finally:
            del self._questions[number]

    # --- without one -------------------------------------------------------------------------------------------

    def _wants_input(self, message: Message, error: ApprovalRequiredError) -> bytes:
        meta = message.params["_meta"]
        modes = Modes.of(meta.get(_CAPABILITIES), str(meta.get(telling.MODERN)))
        if not self._can(modes) or message.method not in INTERRUPTED:
            raise error
        own = {name: message.params[name] for name in ("inputResponses", "requestState") if name in message.params}
        # It says nothing to who holds it, and means nothing where it was not given.
        state = f"{STATE}{self.governor().new_key()}"
        self._parked[state] = _Parked(error.approval_id, _about(message), own)
        while len(self._parked) > _STATES:
            del self._parked[next(iter(self._parked))]
        question = {"method": ASKING, "params": self._question(error, self._words(error), modes)}
        result: dict[str, Any] = {"resultType": "input_required", "inputRequests": {KEY: question}}
        return jsonrpc.answer(message.id, {**result, "requestState": state, "_meta": telling.about(error)})

    async def _taken_up(self, message: Message) -> tuple[Message, set[str]]:
        """Return a call as it is without its answer to a question from here, and the request that this was about.

        Raises:
            ApprovalRefusedError: the request was taken back.
            QuestionError: it was not asked.
        """
        state = message.params.get("requestState")
        if not isinstance(state, str) or not state.startswith(STATE):
            return message, set()
        # Used up by whatever comes with it.
        parked = self._parked.pop(state, None)
        if parked is None:
            raise QuestionError("the requestState is of no question that is open here; make the call without it")
        if parked.about != _about(message):
            raise QuestionError("the requestState is of another call; make this one without it")
        given = message.params.get("inputResponses")
        answer = _action(given.get(KEY) if isinstance(given, Mapping) else None)
        if answer == "decline":
            self.session.claimed(parked.approval_id)
            await self._withdraw(parked.approval_id)
        if answer != "accept":
            raise QuestionError(f"the question {KEY} is not answered; make the call without a requestState")
        if (waiting := self.session.claimed(parked.approval_id)) is not None:
            try:
                await self._decided(parked.approval_id)
            finally:
                self.session.waits(waiting, first=True)
        return _with_own(message, parked.own), {parked.approval_id}

    # --- both --------------------------------------------------------------------------------------------------

    def _can(self, modes: Modes) -> bool:
        return self.asking.seconds > 0 and (modes.form or (modes.url and bool(self.asking.page)))

    async def _decided(self, approval_id: str) -> bool:
        """Wait for people as long as a call may; return whether they have decided."""
        try:
            return await self.governor().decided(approval_id, seconds=self.asking.seconds)
        except AisecopsClientError as error:
            self.say(f"it cannot be told what became of the request {approval_id}: {error}")
            return False

    async def _withdraw(self, approval_id: str) -> None:
        """Take a request back, and say so.

        Raises:
            ApprovalRefusedError: always.
        """
        try:
            await self.governor().withdraw(approval_id, note="declined at the MCP client")
        except AisecopsClientError as error:
            self.say(f"the request {approval_id} could not be taken back: {error}")
            why = "the person at the client did not want to wait; the request could not be taken back"
            raise ApprovalRefusedError(approval_id, why) from error
        raise ApprovalRefusedError(approval_id, _TAKEN_BACK)

    def _words(self, error: ApprovalRequiredError) -> str:
        waiting = self.session.waiting_as(error.approval_id)
        tool, arguments = waiting.key if waiting is not None else ("", b"")
        page = self.asking.page_of(error.approval_id)
        lines = (
            "AISecOps: people have to approve this call before it runs.",
            shown(f"{tool} {arguments.decode()}", _CHARACTERS),
            shown(error.message, _CHARACTERS),
            f"Request {error.approval_id}{f', answered at {page}' if page else ''}.",
            "Accept to wait for them, decline to take the request back. What you answer here approves nothing.",
        )
        return "\n".join(line for line in lines if line.strip())

    def _question(self, error: ApprovalRequiredError, words: str, modes: Modes) -> dict[str, Any]:
        question: dict[str, Any] = {"message": words, "_meta": {KEY: error.approval_id}}
        if modes.url and self.asking.page:
            return {**question, "mode": "url", "url": self.asking.page_of(error.approval_id)}
        # There is nothing to fill in.
        return {**question, "requestedSchema": {"type": "object", "properties": {}}}


def of_server(server: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a server asks of the person at the client, with every line of it under the server's name.

    So no server can speak as anybody else, however it breaks its lines. What is unseen in it is spelled out.
    """
    asked = telling.without_own(question)
    if "message" in asked:
        lines = str(asked["message"]).splitlines() or [""]
        asked["message"] = "\n".join(f"{server}: {shown(line, len(line))}" for line in lines)
    return asked


def _action(given: Any) -> str:
    found = given.get("action") if isinstance(given, Mapping) else None
    if found in ("decline", "cancel"):
        return "decline"
    return "accept" if found == "accept" else ""


def _about(message: Message) -> str:
    """Return what tells a call from every other, whoever makes it and however often."""
    own = ("_meta", "inputResponses", "requestState")
    params = {name: value for name, value in message.params.items() if name not in own}
    return hashlib.sha256(message.method.encode() + b"\0" + canonical_arguments(params)).hexdigest()


def _with_own(message: Message, own: Mapping[str, Any]) -> Message:
    """Return a call with what was said to its server, and without what was said here."""
    kept = {name: value for name, value in message.params.items() if name not in ("inputResponses", "requestState")}
    return jsonrpc.read(jsonrpc.renamed(message, params={**kept, **own}))
