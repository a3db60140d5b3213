"""What about a plan's document could have been otherwise: the levers from which the smallest change is looked for.

Each is something that the world or the agent could bring about: people agree, the human names a value, an amount is
smaller, a budget has room. They are derived from the document and from the tables of the revision that judges it, and
nothing here says that one helps: that is found out by evaluating.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.replays.lever import Edit, Lever, LeverKind, token

Json = Mapping[str, Any]

_SHOWN_CHARACTERS = 60
_MOST_WORDS = 3
_WHAT_IF = "what-if"
_RAISED = (10, 1000)
_PROMPT: Mapping[str, JsonValue] = {
    "id": _WHAT_IF,
    "kind": "user_prompt",
    "name": "",
    "origin_uri": "",
    "digest": "0" * 64,
    "digest_verified": True,
    "content_known": True,
    "size": 0,
    "declared_trust": "",
    "tool": "",
    "step_id": "",
    "pointed_at": False,
    "given": False,
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A document, the compiled tables of the policy that judges it, and what that policy concluded."""

    document: Json
    tables: Json
    revision: str
    conclusion: Json

    @property
    def steps(self) -> list[Json]:
        """Return the plan's steps."""
        return list(self.document.get("plan", {}).get("steps", []))

    @property
    def sources(self) -> list[Json]:
        """Return the plan's sources."""
        return list(self.document.get("sources", []))

    @property
    def agent_id(self) -> str:
        """Return who asks."""
        return str(self.document["principal"]["id"])

    def table(self, *path: str) -> Json:
        """Return a part of the tables; an empty one when it is not there."""
        part: Any = self.tables
        for name in path:
            part = part.get(name) if isinstance(part, Mapping) else None
        return part if isinstance(part, Mapping) else {}


def plan_levers(scene: Scene) -> list[Lever]:
    """Return the levers of a document about a plan, those first that are most easily brought about."""
    found = [
        *_grounding(scene),
        *_request(scene),
        *approval_levers(scene, str(scene.document["plan"]["hash"])),
        *_amounts(scene),
        *_arguments(scene),
        *_capabilities(scene),
        *_environments(scene),
        *_budgets(scene),
        *_delegation(scene),
        *_time(scene),
        *_sources(scene),
        *_history(scene),
        *_steps(scene),
    ]
    return sorted(found, key=lambda lever: lever.kind.ease)


def shown(value: JsonValue) -> str:
    """Return a value as a few words can hold it."""
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def approval_levers(scene: Scene, plan_hash: str) -> Iterator[Lever]:
    """Yield that the people whom policy asks for agree, and that nobody did who had."""
    demand = scene.conclusion.get("approval_demand")
    people = _people(scene, demand) if isinstance(demand, Mapping) else []
    if people and isinstance(demand, Mapping):
        approval: Json = {
            "id": f"apr-{_WHAT_IF}",
            "plan_hash": plan_hash,
            "approvers": people,
            "expires_at_seconds": int(scene.document["now"]["unix_seconds"]) + int(demand["expires_seconds"]),
            "tool_digests": {},
            "revision": scene.revision,
            "findings": [
                {"rule": finding["rule"], "step": finding["step"]}
                for finding in scene.conclusion["findings"]
                if finding["effect"] == "require_approval"
            ],
        }
        of = f" of {', '.join(demand['groups'])}" if demand["groups"] else ""
        words = f"{len(people)} {'person' if len(people) == 1 else 'people'}{of} approved exactly this"
        yield Lever(LeverKind.APPROVAL, words, (Edit("/approvals/-", approval),))
    if scene.document.get("approvals"):
        yield Lever(LeverKind.APPROVAL, "nobody had approved it", (Edit("/approvals", []),))


def _people(scene: Scene, demand: Json) -> list[str]:
    """Return as many people as a demand takes who count for it; none when there are too few."""
    agents = [scene.agent_id, *(link["agent_id"] for link in scene.document.get("delegation", []))]
    owners = {str(scene.table("agents", agent).get("owner", "")) for agent in agents}
    groups, needed = set(demand["groups"]), int(demand["approvers_required"])
    able = [
        name
        for name, person in sorted(scene.table("people").items())
        if (not groups or groups & set(person["groups"])) and not owners & set(person["teams"])
    ]
    return able[:needed] if len(able) >= needed else []


def _grounding(scene: Scene) -> Iterator[Lever]:
    prompt = next((source["id"] for source in scene.sources if source["kind"] == "user_prompt"), "")
    places: dict[str, list[tuple[str, Json]]] = {}
    for at, step in enumerate(scene.steps):
        for number, value in enumerate(step["values"]):
            places.setdefault(value["value"], []).append((f"/plan/steps/{at}/values/{number}", value))
    before = () if prompt else (Edit("/sources/-", _PROMPT),)
    for text, values in places.items():
        seen = {"source": prompt or _WHAT_IF, "form": "text", "prose": True, "bound": False}
        if not any(occurrence["source"] == prompt for _, value in values for occurrence in value["found"]):
            edits = [
                edit
                for place, value in values
                for edit in (Edit(f"{place}/named", value=True), Edit(f"{place}/found", [*value["found"], seen]))
            ]
            yield Lever(LeverKind.GROUNDING, f"the human had named {shown(text)}", (*before, *edits))
        if any(value["found"] for _, value in values):
            unseen = [
                edit
                for place, _ in values
                for edit in (Edit(f"{place}/named", value=False), Edit(f"{place}/found", []))
            ]
            yield Lever(LeverKind.GROUNDING, f"{shown(text)} stood in no source", tuple(unseen))
    if not scene.document["grounding"]["complete"]:
        whole: Json = {"complete": True, "unsearched": [], "truncated": False}
        yield Lever(LeverKind.GROUNDING, "every source could be searched", (Edit("/grounding", whole),))


def _request(scene: Scene) -> Iterator[Lever]:
    """Yield that the human had asked for what a tool does, in a word that policy knows."""
    words_of: dict[str, list[str]] = {}
    for word, actions in sorted(scene.table("vocabulary", "actions").items()):
        for action in actions:
            words_of.setdefault(action, []).append(word)
    said = scene.document["request"]["words"]
    for tool in dict.fromkeys(step["tool"] for step in scene.steps):
        entry = scene.table("tools", tool)
        asked = next(
            (_plainest(words_of[action], tool) for action in entry.get("asked_by", {}) if action in words_of), ""
        )
        concern = next(iter(sorted(entry.get("concerns", {}))), "")
        missing = [word for word in (asked, concern) if word and word not in said]
        if missing:
            edits = [Edit(f"/request/words/{token(word)}", value=True) for word in missing]
            told = f"the human had asked for {tool}, with {' and '.join(missing)}"
            yield Lever(LeverKind.REQUEST, told, (Edit("/request/known", value=True), *edits))
    for at, source in enumerate(scene.sources):
        if source["kind"] != "user_prompt" and not (source["pointed_at"] and source["given"]):
            given = (Edit(f"/sources/{at}/pointed_at", value=True), Edit(f"/sources/{at}/given", value=True))
            yield Lever(LeverKind.REQUEST, f"the human had given the very place of {_source(source)}", given)


def _plainest(words: Sequence[str], tool: str) -> str:
    """Return the word by which people would ask for a tool: one of its name if there is any."""
    named = [word for word in words if word in tool.replace("/", "_").split("_")]
    return (named or sorted(words, key=lambda word: (not word.isascii(), len(word), word)))[0]


def _amounts(scene: Scene) -> Iterator[Lever]:
    for at, step in enumerate(scene.steps):
        limit = scene.table("tools", step["tool"], "approval").get("amount_over")
        for pointer, value in _numbers(step["arguments"], f"/plan/steps/{at}/arguments"):
            wanted = [0, 1, *([limit] if isinstance(limit, int) and limit > 0 else []), *(value * by for by in _RAISED)]
            for other in dict.fromkeys(int(number) for number in wanted):
                if other != value:
                    name = pointer.rpartition("/")[2]
                    yield Lever(LeverKind.ARGUMENT, f"{name} of {step['tool']} were {other}", (Edit(pointer, other),))


def _numbers(value: JsonValue, place: str) -> Iterator[tuple[str, int | float]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _numbers(part, f"{place}/{token(name)}")
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from _numbers(part, f"{place}/{at}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place, value


def _arguments(scene: Scene) -> Iterator[Lever]:
    for at, step in enumerate(scene.steps):
        for name in step["arguments"]:
            gone = [
                Edit(f"/plan/steps/{at}/values/{number}", removes=True)
                for number, value in enumerate(step["values"])
                if value["argument"] == name
            ]
            edits = (Edit(f"/plan/steps/{at}/arguments/{token(name)}", removes=True), *gone)
            yield Lever(LeverKind.ARGUMENT, f"{step['tool']} were called without {name}", edits)


def _capabilities(scene: Scene) -> Iterator[Lever]:
    for at, step in enumerate(scene.steps):
        names = [*([""] if step["capability"] else []), *scene.table("tools", step["tool"], "capabilities")]
        for name in names[:_MOST_WORDS]:
            if name != step["capability"]:
                words = f"{step['tool']} were asked for under {name}" if name else f"{step['tool']} named no capability"
                yield Lever(LeverKind.CAPABILITY, words, (Edit(f"/plan/steps/{at}/capability", name),))


def _environments(scene: Scene) -> Iterator[Lever]:
    own = scene.table("agents", scene.agent_id, "environments")
    known = {name for server in scene.table("servers").values() for name in server.get("environments", {})}
    for name in sorted({*own, *known} - {scene.document["environment"]}):
        yield Lever(LeverKind.ENVIRONMENT, f"it were for {name}", (Edit("/environment", name),))


def _budgets(scene: Scene) -> Iterator[Lever]:
    usage = scene.document["usage"]
    for key, counter in usage.get("counters", {}).items():
        empty = {**counter, "used": 0, "reserved": 0, "overrun": 0, "frozen": False}
        place = f"/usage/counters/{token(key)}"
        if empty != counter:
            yield Lever(LeverKind.BUDGET, f"nothing of {key} had been used", (Edit(place, empty),))
        if counter["frozen"]:
            yield Lever(LeverKind.BUDGET, f"{key} were not frozen", (Edit(f"{place}/frozen", value=False),))
        if not counter["used"]:
            continue
        yield Lever(LeverKind.BUDGET, f"of {key} were used 0", (Edit(f"{place}/used", 0),))
    for number in (0, 10_000):
        if number != usage["session_calls"]:
            words = f"the calls of the session were {number}"
            yield Lever(LeverKind.BUDGET, words, (Edit("/usage/session_calls", number),))


def _delegation(scene: Scene) -> Iterator[Lever]:
    links = scene.document["delegation"]
    unverified = [at for at, link in enumerate(links) if not link["verified"]]
    if unverified:
        edits = tuple(Edit(f"/delegation/{at}/verified", value=True) for at in unverified)
        yield Lever(LeverKind.DELEGATION, "the log showed every link of the delegation", edits)
    if links:
        yield Lever(LeverKind.DELEGATION, "nobody had delegated it", (Edit("/delegation", []),))


def _time(scene: Scene) -> Iterator[Lever]:
    now = int(scene.document["now"]["unix_seconds"])
    for capability, grant in scene.table("grants", scene.agent_id).items():
        ends = grant.get("expires_at_seconds")
        if isinstance(ends, int):
            other, words = (ends - 1, "still counted") if now >= ends else (ends, "had ended")
            yield Lever(LeverKind.TIME, f"the grant of {capability} {words}", (Edit("/now/unix_seconds", other),))


def _sources(scene: Scene) -> Iterator[Lever]:
    for at, source in enumerate(scene.sources):
        place, name = f"/sources/{at}", _source(source)
        if source["kind"] != "user_prompt":
            said = Edit(f"{place}/kind", "user_prompt")
            yield Lever(LeverKind.SOURCE, f"{name} were trusted as the human's own words", (said,))
        if source["declared_trust"] != "unverified":
            doubted = Edit(f"{place}/declared_trust", "unverified")
            yield Lever(LeverKind.SOURCE, f"{name} were not trusted at all", (doubted,))
        yield Lever(LeverKind.SOURCE, f"{name} had not been heard", tuple(_unheard(scene, at)))


def _unheard(scene: Scene, at: int) -> Iterator[Edit]:
    name = scene.sources[at]["id"]
    yield Edit(f"/sources/{at}", removes=True)
    for number, step in enumerate(scene.steps):
        if name in step["influenced_by"]:
            left = [other for other in step["influenced_by"] if other != name]
            yield Edit(f"/plan/steps/{number}/influenced_by", left)
        for place, value in enumerate(step["values"]):
            left = [seen for seen in value["found"] if seen["source"] != name]
            if len(left) < len(value["found"]):
                yield Edit(f"/plan/steps/{number}/values/{place}/found", left)


def _history(scene: Scene) -> Iterator[Lever]:
    if scene.document["history"]:
        yield Lever(LeverKind.HISTORY, "the session had called nothing before", (Edit("/history", []),))


def _steps(scene: Scene) -> Iterator[Lever]:
    steps = scene.steps
    for at, step in enumerate(steps if len(steps) > 1 else []):
        edits = [Edit(f"/plan/steps/{at}", removes=True)]
        for number, other in enumerate(steps):
            if step["id"] in other["depends_on"]:
                left = [name for name in other["depends_on"] if name != step["id"]]
                edits.append(Edit(f"/plan/steps/{number}/depends_on", left))
        yield Lever(LeverKind.STEP, f"the call of {step['tool']} were left out", tuple(edits))


def _source(source: Json) -> str:
    kind = str(source["kind"]).replace("_", " ")
    return f"the {kind} {shown(source['tool'] or source['name'] or source['id'])}"


def words_of(levers: Iterable[Lever]) -> str:
    """Return in one sentence what is otherwise."""
    return "If " + ", and ".join(lever.words for lever in levers)
