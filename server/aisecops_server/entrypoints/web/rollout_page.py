"""Rollouts: which revision decides for whom, how the candidate compares, what stands against it, and the next step.

A form names the rollout and the stage that were on the screen; when either is another by now, nothing is done.
"""

from __future__ import annotations

from collections.abc import Mapping

from aisecops.v1 import bundle_service_pb2
from aisecops.v1 import rollout_service_pb2 as api

from aisecops_server.domain.errors import InvalidRequestError, RolloutRefusedError
from aisecops_server.entrypoints.web.visitor import Away, Page, Visitor

PAGE = 50
_HERE = "/rollouts"
_SERVICE = "RolloutService"
_PERCENT = 100
_DIGITS = 9
_WORDS: Mapping[int, str] = {
    api.ROLLOUT_STAGE_SHADOW: "shadow",
    api.ROLLOUT_STAGE_CANARY: "canary",
    api.ROLLOUT_STAGE_PROMOTED: "promoted",
    api.ROLLOUT_STAGE_ROLLED_BACK: "rolled back",
    api.ROLLOUT_STAGE_ABORTED: "aborted",
}
_UNDER_WAY = frozenset({api.ROLLOUT_STAGE_SHADOW, api.ROLLOUT_STAGE_CANARY})


async def rollouts(visitor: Visitor) -> Page:
    """Show the rollout that is under way, or the last one, and those before it, newest first."""
    found = await visitor.ask(f"{_SERVICE}/GetRollout", api.GetRolloutRequest(), api.GetRolloutResponse)
    before = await visitor.ask(
        f"{_SERVICE}/ListRollouts", api.ListRolloutsRequest(page_size=PAGE), api.ListRolloutsResponse
    )
    status, _ = await visitor.attempt(
        "BundleService/GetStatus", bundle_service_pb2.GetStatusRequest(), bundle_service_pb2.GetStatusResponse
    )
    rollout = found.rollout if found.HasField("rollout") else None
    live = status.status.live.commit if status else ""
    view = {
        "rollout": rollout,
        "under_way": rollout is not None and rollout.stage in _UNDER_WAY,
        "promoted": rollout is not None and rollout.stage == api.ROLLOUT_STAGE_PROMOTED,
        "live": live,
        "channels": _channels(rollout, live),
        "before": before.rollouts,
        "word": lambda one: _WORDS[one.stage],
        "selected": selected,
        "chosen": visitor.query("revision"),
    }
    return Page("rollouts.html", "Rollouts", view, {"rollout": rollout, "rollouts": list(before.rollouts)}, "Rollouts")


async def start(visitor: Visitor) -> Away:
    """Have a revision see live plans."""
    request = api.StartRolloutRequest(
        revision=visitor.form.get("revision", "").strip(),
        reason=_reason(visitor),
        seconds=_count(visitor, "seconds"),
        decisions=_count(visitor, "decisions"),
    )
    await visitor.ask(f"{_SERVICE}/StartRollout", request, api.StartRolloutResponse)
    return Away(_HERE)


async def canary(visitor: Visitor) -> Away:
    """Have the candidate decide for some agents."""
    reason = _reason(visitor)
    percent = _count(visitor, "percent")
    if percent > _PERCENT:
        raise InvalidRequestError(f"percent: not more than {_PERCENT}", field="percent")
    selector = api.RolloutSelector(
        percent=percent,
        agents=_names(visitor, "agents"),
        teams=_names(visitor, "teams"),
        environments=_names(visitor, "environments"),
    )
    await _require_as_shown(visitor)
    request = api.SetCanaryRequest(selector=selector, reason=reason)
    await visitor.ask(f"{_SERVICE}/SetCanary", request, api.SetCanaryResponse)
    return Away(_HERE)


async def promote(visitor: Visitor) -> Away:
    """Make the candidate live."""
    request = api.PromoteRolloutRequest(reason=_reason(visitor), force=visitor.form.get("force") == "yes")
    await _require_as_shown(visitor)
    await visitor.ask(f"{_SERVICE}/PromoteRollout", request, api.PromoteRolloutResponse)
    return Away(_HERE)


async def roll_back(visitor: Visitor) -> Away:
    """Take the candidate back, or what was promoted."""
    request = api.RollBackRolloutRequest(reason=_reason(visitor))
    await _require_as_shown(visitor)
    await visitor.ask(f"{_SERVICE}/RollBackRollout", request, api.RollBackRolloutResponse)
    return Away(_HERE)


async def abort(visitor: Visitor) -> Away:
    """End the rollout that is under way."""
    request = api.AbortRolloutRequest(reason=_reason(visitor))
    await _require_as_shown(visitor)
    await visitor.ask(f"{_SERVICE}/AbortRollout", request, api.AbortRolloutResponse)
    return Away(_HERE)


def selected(rollout: api.Rollout) -> str:
    """Return in words for whom a canary decides."""
    chosen = rollout.selector
    parts = [f"{chosen.percent} percent of all agents"] if chosen.percent else []
    for word, names in (("agents", chosen.agents), ("teams", chosen.teams), ("environments", chosen.environments)):
        parts += [f"{word} {', '.join(names)}"] if names else []
    return "; ".join(parts) or "nobody"


def _channels(rollout: api.Rollout | None, live: str) -> list[tuple[str, str, str]]:
    """Return each channel with the commit that is in it, or an empty string, and what it does there."""
    stage = rollout.stage if rollout else 0
    candidate = rollout.candidate.commit if rollout else ""
    canary = rollout is not None and stage == api.ROLLOUT_STAGE_CANARY
    return [
        ("shadow", candidate if stage == api.ROLLOUT_STAGE_SHADOW else "", "sees live plans and decides none"),
        ("canary", candidate if canary else "", f"decides for {selected(rollout) if rollout and canary else 'nobody'}"),
        ("stable", live, "decides for everybody else" if canary else "decides for everybody"),
    ]


async def _require_as_shown(visitor: Visitor) -> None:
    found = await visitor.ask(f"{_SERVICE}/GetRollout", api.GetRolloutRequest(), api.GetRolloutResponse)
    shown = (visitor.form.get("rollout", ""), visitor.form.get("stage", ""))
    if shown != (found.rollout.rollout_id, str(found.rollout.stage)):
        raise RolloutRefusedError(
            "the rollout is another one, or further, than the page showed", hint="Load the page again", why="stale"
        )


def _reason(visitor: Visitor) -> str:
    reason = visitor.form.get("reason", "").strip()
    if not reason:
        raise InvalidRequestError("reason: say why, for the log", field="reason")
    return reason


def _count(visitor: Visitor, name: str) -> int:
    text = visitor.form.get(name, "").strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise InvalidRequestError(f"{name}: not a number from 0", field=name)
    return int(text)


def _names(visitor: Visitor, name: str) -> list[str]:
    return visitor.form.get(name, "").replace(",", " ").split()
