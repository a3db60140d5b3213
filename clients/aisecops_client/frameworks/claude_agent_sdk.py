"""Claude Agent SDK: hooks around each use of a tool. A call that waits for people is refused, and made again later.

    options = governed(ClaudeAgentOptions(mcp_servers={"email": server}), bridge)
    async with ClaudeSDKClient(options) as client: ...

A tool `mcp__email__send` is `email/send` for policy, a tool of Claude Code itself `claude-code/` and its name, unless
``bridge.tools`` says otherwise. The SDK runs a tool whose hook raises, so these do not, and ask to be held to that.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

from claude_agent_sdk import ClaudeAgentOptions, HookMatcher

from aisecops_client.frameworks._bridge import Bridge, PendingCall, Permit, ToolFailedError
from aisecops_client.frameworks._claude import policy_name, shown
from aisecops_client.frameworks._heard import Heard, text_of
from aisecops_client.frameworks._words import words

_KEPT, _SESSIONS, _SPARE_SECONDS = 1024, 256, 60


def governed(options: ClaudeAgentOptions, bridge: Bridge) -> ClaudeAgentOptions:
    """Return options under which each use of a tool is decided first.

    Raises:
        ValueError: ``can_use_tool`` is set: what it changes of a call, no hook would see.
    """
    if options.can_use_tool is not None:
        raise ValueError("can_use_tool could change a call after it was decided: leave it out")
    uses = _Uses(bridge)
    own = {
        "UserPromptSubmit": uses.prompted,
        "PreToolUse": uses.before,
        "PostToolUse": uses.after,
        "PostToolUseFailure": uses.failed,
    }
    hooks: dict[Any, list[HookMatcher]] = {event: list(given) for event, given in (options.hooks or {}).items()}
    seconds = bridge.approval_seconds + bridge.client.timeout_seconds * bridge.attempts + _SPARE_SECONDS
    for event, callback in own.items():
        matcher = HookMatcher(hooks=[callback], timeout=seconds, on_failure="block")
        # Behind the hooks that are there: what they change of a call is decided as they changed it.
        hooks.setdefault(event, []).append(matcher)
    return replace(options, hooks=hooks)


@dataclass
class _Uses:
    """What is known of each session: what its model read, and the calls that are under way by their ids."""

    bridge: Bridge
    _heard: OrderedDict[str, list[Heard]] = field(default_factory=OrderedDict)
    _permits: OrderedDict[str, Permit] = field(default_factory=OrderedDict)

    async def prompted(self, given: Any, _use_id: str | None, _context: Any) -> dict[str, Any]:
        """Add what a person said."""
        self._add(given, Heard("user_prompt", str(given.get("prompt", ""))))
        return {}

    async def before(self, given: Any, use_id: str | None, _context: Any) -> dict[str, Any]:
        """Let a tool be used as granted, or say why not."""
        told: dict[str, Any] = {"hookEventName": "PreToolUse"}
        try:
            permit = await self.bridge.abegin(self._pending(given))
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the tool does not run
            return {"hookSpecificOutput": told | _denied(words(error))}
        self._permits[use_id or given["tool_use_id"]] = permit
        while len(self._permits) > _KEPT:
            self._permits.popitem(last=False)
        told |= {"permissionDecision": "allow", "permissionDecisionReason": "allowed by policy"}
        if permit.arguments != given["tool_input"]:
            told["updatedInput"] = dict(permit.arguments)
        return {"hookSpecificOutput": told}

    async def after(self, given: Any, use_id: str | None, _context: Any) -> dict[str, Any]:
        """Tell that a tool was used, and pass on what of its result may be."""
        permit = self._permits.pop(use_id or given["tool_use_id"], None)
        result, told = given.get("tool_response"), {"hookEventName": "PostToolUse"}
        try:
            passed_on = await self.bridge.apart(lambda: self._finished(permit, given, result))
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody sees the result
            passed_on = words(error)
        self._add(given, self._result(given, permit, passed_on))
        return {"hookSpecificOutput": told if passed_on == result else {**told, "updatedToolOutput": passed_on}}

    async def failed(self, given: Any, use_id: str | None, _context: Any) -> dict[str, Any]:
        """Tell that a tool was used and failed."""
        permit = self._permits.pop(use_id or given["tool_use_id"], None)
        if permit is not None:
            await self.bridge.apart(lambda: self.bridge.failed(permit, ToolFailedError("")))
        self._add(given, self._result(given, permit, str(given.get("error", ""))))
        return {}

    def _finished(self, permit: Permit | None, given: Any, result: Any) -> Any:
        if permit is None:
            # Nobody decided it here: its result is not ours to pass on or to keep, and is nobody's word.
            return result
        if given["tool_input"] != permit.arguments:
            return self.bridge.ran_otherwise(permit, given["tool_input"], result)
        return self.bridge.finish(permit, result)

    def _pending(self, given: Any) -> PendingCall:
        # Asked again after an approval, the call has another id: it is known by what it does.
        session, name = str(given.get("session_id", "")), policy_name(given["tool_name"], self.bridge.tools)
        heard = tuple(self._heard.get(session, ()))
        return PendingCall(name, dict(given["tool_input"]), "", heard=heard, session=session, passed_on=shown)

    def _result(self, given: Any, permit: Permit | None, result: Any) -> Heard:
        step = permit.call.step_id if permit is not None and permit.call is not None else ""
        name = policy_name(given["tool_name"], self.bridge.tools) if step else ""
        return Heard("tool_result", text_of(result), name=given["tool_name"], tool=name, call_id=step)

    def _add(self, given: Any, heard: Heard) -> None:
        known = self._heard.setdefault(str(given.get("session_id", "")), [])
        known.append(heard)
        while len(self._heard) > _SESSIONS:
            self._heard.popitem(last=False)


def _denied(why: str) -> dict[str, Any]:
    return {"permissionDecision": "deny", "permissionDecisionReason": why}
