"""agent-hooks: an interceptor for any host of that contract (`agent-hooks/0.1`), which needs nothing of its package.

    emitter.register(Interceptor(bridge))

Register it last, so that what others transform is what is decided, and with a host that enforces verdicts. A call that
waits for people is denied for good, not liftably: a host that lifted it would ask its own resolver, and the answer is
the control plane's. Made again with the same arguments after they agreed, it is allowed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aisecops_client.frameworks._bridge import Bridge, PendingCall, Permit, ToolFailedError
from aisecops_client.frameworks._heard import Heard, text_of
from aisecops_client.frameworks._words import about, words

_ALLOW: Mapping[str, Any] = {"decision": "allow"}
_UNDECIDED = frozenset({"agent_startup", "post_model_call", "output"})
_PROMPTS = {"user": "user_prompt", "system": "system_prompt", "developer": "system_prompt"}
_KEPT, _SESSIONS = 1024, 4096


@dataclass
class Interceptor:
    """Answers each context of a host with a verdict, in the contract's own form; it does not raise."""

    bridge: Bridge
    _heard: dict[str, list[Heard]] = field(default_factory=dict, init=False, repr=False)
    _permits: OrderedDict[tuple[str, str], Permit] = field(default_factory=OrderedDict, init=False, repr=False)

    async def intercept(self, context: Mapping[str, Any], /) -> dict[str, Any]:
        """Return what the host has to do at this point: allow, deny or transform."""
        try:
            return dict(await self._verdict(context))
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nothing goes on
            told = about(error)
            reason = ",".join(map(str, told["rules"])) if isinstance(told["rules"], list) else ""
            return {"decision": "deny", "reason": reason or str(told["reason"]) or "aisecops", "message": words(error)}

    async def _verdict(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        point, session = context["interception_point"], str(context["session"]["id"])
        if point == "pre_tool_call":
            return await self._before(session, context["tool_call"], context["target"])
        if point == "post_tool_call":
            return await self._after(session, context)
        if point == "input":
            said = context["input"]
            # What is not said to be a person's word is nobody's.
            self._add(session, Heard(_PROMPTS.get(said.get("role"), "tool_result"), text_of(said.get("content"))))
        elif point == "pre_model_call":
            for message in context["messages"]:
                if _PROMPTS.get(message.get("role")) == "system_prompt":
                    self._add(session, Heard("system_prompt", text_of(message.get("content"))))
        elif point == "agent_shutdown":
            self._heard.pop(session, None)
        elif point not in _UNDECIDED:
            raise ValueError(f"it is not known what {point!r} is")
        return _ALLOW

    async def _before(self, session: str, call: Mapping[str, Any], arguments: Any) -> Mapping[str, Any]:
        # The target is what runs: others may have transformed it. Asked again after an approval, the call has another
        # id: it is known by what it does.
        heard = tuple(self._heard.get(session, ()))
        permit = await self.bridge.abegin(PendingCall(call["name"], dict(arguments), "", heard, session))
        self._permits[session, call["id"]] = permit
        while len(self._permits) > _KEPT:
            self._permits.popitem(last=False)
        return _ALLOW if permit.arguments == arguments else _changed(dict(permit.arguments))

    async def _after(self, session: str, context: Mapping[str, Any]) -> Mapping[str, Any]:
        call, result = context["tool_call"], context["target"]
        permit = self._permits.pop((session, call["id"]), None)
        if permit is None or permit.call is None:
            # Nobody decided it here: its result is nobody's word.
            self._add(session, Heard("tool_result", text_of(result), name=call["name"]))
            return _ALLOW
        made = permit
        step, tool = permit.call.step_id, call["name"]
        if context["tool_result"].get("is_error"):
            await self.bridge.apart(lambda: self.bridge.failed(made, ToolFailedError(result)))
            shown = result
        else:
            try:
                shown = await self.bridge.apart(lambda: self._finished(made, call["args"], result))
            except Exception as error:
                self._add(session, Heard("tool_result", words(error), tool=tool, call_id=step))
                raise
        self._add(session, Heard("tool_result", text_of(shown), tool=tool, call_id=step))
        return _ALLOW if shown == result else _changed(shown)

    def _finished(self, permit: Permit, arguments: Any, result: Any) -> Any:
        if arguments != permit.arguments:
            return self.bridge.ran_otherwise(permit, arguments, result)
        return self.bridge.finish(permit, result)

    def _add(self, session: str, heard: Heard) -> None:
        if session not in self._heard and len(self._heard) >= _SESSIONS:
            # What a session heard is never forgotten while it goes on: its calls would look better than they are.
            raise ValueError(f"{_SESSIONS} sessions go on here; the host has to end some (agent_shutdown)")
        known = self._heard.setdefault(session, [])
        if heard not in known:
            known.append(heard)


def _changed(value: Any) -> dict[str, Any]:
    return {"decision": "transform", "transform": {"path": "$target", "value": value}}
