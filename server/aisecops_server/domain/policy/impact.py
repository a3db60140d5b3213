"""What a change of policy would have done to recorded decisions, as one document: sums, samples, reasons, gates.

Built from a replay's report and results as the API gives them, so that a control plane, a log beside one and a corpus
give the same. Nothing here evaluates; what could not be known is counted as that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.accepted_flips import NO_RULE, Flip, Gates
from aisecops_server.domain.policy.policy_check import Level, Problem
from aisecops_server.domain.policy.policy_paths import GATES

Json = Mapping[str, Any]

MOST_GROUPS = 40
_PERCENT = 100
_UNKNOWN = ("INDETERMINATE", "ERROR")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one evaluation takes: median and 99th percentile in nanoseconds, allocations, and bytes of them."""

    p50_ns: int
    p99_ns: int
    allocations: int
    bytes: int

    def as_json(self) -> dict[str, JsonValue]:
        """Return it as JSON."""
        return {
            "p50_ns": self.p50_ns,
            "p99_ns": self.p99_ns,
            "allocations": self.allocations,
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True)
class Policies:
    """What is known of the base without evaluating: severities of its rules, tenants of its agents, its gates."""

    severities: Mapping[str, str]
    tenants: Mapping[str, str]
    gates: Gates


@dataclass(frozen=True, slots=True)
class Impact:
    """A replay of a change, and what its gates say of it."""

    replay: Json
    results: Sequence[Json]
    policies: Policies
    source: str
    problems: tuple[Problem, ...] = ()
    accepted: int = 0
    reasons: Mapping[str, Json] = field(default_factory=dict)
    costs: tuple[Cost, Cost] | None = None
    milliseconds: int = 0

    @property
    def report(self) -> Json:
        """Return the sums of the replay."""
        found: Json = self.replay["report"]
        return found

    @property
    def trustworthy(self) -> bool:
        """Return whether recorded decisions came out again on their own policy."""
        return bool(self.report["fidelity"]["trustworthy"])

    @property
    def passed(self) -> bool:
        """Return whether no gate refuses it."""
        return not any(problem.level is Level.ERROR for problem in self.problems)

    @property
    def flips(self) -> tuple[Flip, ...]:
        """Return every decision whose outcome flips, in the order of the log."""
        return tuple(flips_of(self.results))

    def as_json(self) -> dict[str, JsonValue]:
        """Return the impact as JSON, in which the same replay gives the same bytes but for the time it took."""
        report, flips = self.report, self.flips
        return {
            "replay_id": str(self.replay["replayId"]),
            "base": _side(self.replay.get("baseline") or {}),
            "candidate": _side(self.replay["candidate"]),
            "source": self.source,
            "passed": self.passed,
            "trustworthy": self.trustworthy,
            "fidelity": _fidelity(report["fidelity"]),
            "compared": int(report["compared"]),
            "flips": len(flips),
            "looser": int(report["looser"]),
            "stricter": int(report["stricter"]),
            "risky": int(report["risky"]),
            "accepted": self.accepted,
            "indeterminate": _count(report, "INDETERMINATE"),
            "errors": _count(report, "ERROR"),
            "obligations": _count(report, "OBLIGATION_CHANGE"),
            "reasons_only": _count(report, "REASON_ONLY"),
            "transitions": [_transition(each) for each in report["transitions"]],
            "rules": list(_rules(flips, self.policies.severities)),
            "agents": list(_shifts(report["agents"], "agentId", "agent")),
            "tools": list(_shifts(report["tools"], "tool", "tool")),
            "tenants": list(_tenants(report["agents"], self.policies.tenants)),
            "groups": [self._group(each) for each in report["groups"][:MOST_GROUPS]],
            "changes": list(_changes(report)),
            "cost": _cost(self.costs),
            "problems": [problem.as_json() for problem in self.problems],
            "milliseconds": self.milliseconds,
        }

    def _group(self, group: Json) -> JsonValue:
        traces = {str(result["decisionId"]): str(result["traceId"]) for result in self.results}
        examples = [str(example) for example in group["examples"]]
        reason = next((self.reasons[example] for example in examples if example in self.reasons), None)
        return {
            "class": _plain(group["verdictClass"]),
            "before": _plain(group["before"]),
            "after": _plain(group["after"]),
            "fires_now": list(group["firesNow"]),
            "no_longer": list(group["noLonger"]),
            "parts": list(group["parts"]),
            "reason": str(group["reason"]),
            "count": int(group["count"]),
            "examples": [{"decision": example, "trace": traces.get(example, "")} for example in examples],
            "why": list(in_words(reason)) if reason else [],
        }


def flips_of(results: Sequence[Json]) -> Iterator[Flip]:
    """Yield the flips among a replay's results."""
    for result in results:
        direction = _plain(result["direction"]).lower()
        if direction not in ("looser", "stricter"):
            continue
        fired = result["noLonger"] if direction == "looser" else result["firesNow"]
        # A remark changes no outcome.
        rules = {str(each["rule"]) for each in fired if _plain(each["effect"]).lower() != "warn"}
        yield Flip(
            decision_id=str(result["decisionId"]),
            trace_id=str(result["traceId"]),
            direction=direction,
            risky=bool(result["risky"]),
            rules=tuple(sorted(rules)) or (NO_RULE,),
        )


def shared_problems(impact: Impact) -> tuple[Problem, ...]:
    """Return what no entry accepts: a replay that cannot be trusted, too much that nobody knows, slower evaluations."""
    report, gates = impact.report, impact.policies.gates
    found = []
    if not impact.trustworthy:
        told = "; ".join(str(problem["message"]) for problem in report["fidelity"]["problems"]) or "nothing was checked"
        found.append(
            Problem(
                "impact.not-trustworthy",
                f"recorded decisions do not come out again on their own policy: {told}",
                hint="Export the corpus anew with this version, or install the engine that decided",
            )
        )
    compared = int(report["compared"])
    unknown = sum(_count(report, name) for name in _UNKNOWN)
    if compared and _PERCENT * unknown > gates.most_indeterminate_percent * compared:
        found.append(
            Problem(
                "impact.indeterminate",
                f"of {unknown} of {compared} decisions nobody can know what would become of them",
                hint="The groups below say why; a corpus of newer decisions knows more",
            )
        )
    if impact.costs and (costlier := _costlier(impact.costs)) > gates.most_costlier_percent:
        found.append(
            Problem(
                "impact.costlier",
                f"an evaluation allocates {costlier} % more than on the base",
                hint="Look things up by key instead of looking at every entry; 'aisecops policy lint' points at those",
            )
        )
    return tuple(found)


def protected_problems(results: Sequence[Json], traces: Sequence[str], *, found: bool) -> Iterator[Problem]:
    """Yield the protected traces of which nobody knows whether they flip; without ``found`` none could be replayed."""
    if not found:
        yield Problem(
            "flips.protected-missing",
            "no protected trace is among the decisions that are replayed, so nobody knows whether one flips",
            hint=f"'aisecops policy corpus export --trace {traces[0]}' takes one along; what is gone protects nothing",
            path=GATES,
            subject=traces[0],
            level=Level.WARNING,
        )
    lost = [each for each in results if _plain(each["verdictClass"]) in _UNKNOWN]
    unknown = {str(each["traceId"]): str(each["reason"]) for each in lost}
    for trace in sorted(set(traces).intersection(unknown)):
        yield Problem(
            "flips.protected",
            f"nobody can know what becomes of the protected trace {trace}: {unknown[trace]}",
            hint=f"Mend the change; if the record is gone, take the trace out of {GATES} in a change of its own",
            path=GATES,
            subject=trace,
        )


def in_words(change: Json) -> Iterator[str]:
    """Yield why one decision flips, a sentence each: rules, the decisive difference, facts, what would be otherwise."""
    for rule in change.get("rules", []):
        step = f" at step {rule['stepId']}" if rule["stepId"] else ""
        word = "is found now" if rule["firesNow"] else "is no longer found"
        yield f"{rule['rule']} {word}{step}: {rule['message']}" if rule["message"] else f"{rule['rule']} {word}{step}"
    causes = change.get("causes", [])
    decisive = [cause for cause in causes if _plain(cause["weight"]) == "DECISIVE"]
    for cause in decisive:
        yield f"decisive is {_caused(cause['change'])}"
    if causes and not decisive:
        more = f", and {len(causes) - 1} more" if len(causes) > 1 else ""
        yield f"together it is {_caused(causes[0]['change'])}{more}"
    facts = [fact for fact in change.get("facts", []) if fact["decisive"]] or change.get("facts", [])
    for fact in facts[:3]:
        yield f"it read {fact['pointer']} = {str(fact['valueJson'])[:80]}"
    smallest = change.get("smallest")
    if smallest and smallest["found"]:
        yield f"otherwise ({_plain(smallest['outcome'])}) with: {smallest['words']}"


def _caused(change: Json) -> str:
    before, after = change["before"], change["after"]
    place = after if after["file"] else before
    at = f" at {place['file']}:{place['line']}" if place["file"] and int(place["line"]) else ""
    kind = _plain(change["kind"]).lower().replace("_", " ")
    values = f" ({before['text'][:60]} → {after['text'][:60]})" if kind == "row changed" else ""
    return f"{kind} {change['subject']}{values}{at}"


def _plain(word: object) -> str:
    """Return an enumeration's word without the name of the enumeration, as it stands in the log."""
    text = str(word)
    for prefix in ("VERDICT_CLASS_", "OUTCOME_", "DIRECTION_", "EFFECT_", "CHANGE_KIND_"):
        text = text.removeprefix(prefix)
    return "" if text == "UNSPECIFIED" else text


def _side(side: Json) -> JsonValue:
    return {"name": str(side.get("name", "")), "revision": str(side.get("revision", ""))}


def _fidelity(fidelity: Json) -> JsonValue:
    return {
        "checked": int(fidelity["checked"]),
        "reproduced": int(fidelity["reproduced"]),
        "problems": [
            {"reason": str(each["reason"]), "message": str(each["message"]), "count": int(each["count"])}
            for each in fidelity["problems"]
        ],
    }


def _count(report: Json, name: str) -> int:
    return sum(int(each["count"]) for each in report["classes"] if _plain(each["verdictClass"]) == name)


def _transition(each: Json) -> JsonValue:
    return {"before": _plain(each["before"]), "after": _plain(each["after"]), "count": int(each["count"])}


def _rules(flips: Sequence[Flip], severities: Mapping[str, str]) -> Iterator[JsonValue]:
    counts = Counter((rule, flip.direction) for flip in flips for rule in flip.rules)
    for rule in sorted({rule for rule, _ in counts}):
        yield {
            "rule": rule,
            "severity": severities.get(rule, ""),
            "looser": counts[rule, "looser"],
            "stricter": counts[rule, "stricter"],
        }


def _shifts(shifts: Sequence[Json], key: str, name: str) -> Iterator[JsonValue]:
    for each in shifts:
        if int(each["looser"]) or int(each["stricter"]):
            yield {name: str(each[key]), **{word: int(each[word]) for word in ("compared", "looser", "stricter")}}


def _tenants(agents: Sequence[Json], tenants: Mapping[str, str]) -> Iterator[JsonValue]:
    sums: dict[str, Counter[str]] = {}
    for each in agents:
        counts = sums.setdefault(tenants.get(str(each["agentId"]), "default"), Counter())
        counts.update({word: int(each[word]) for word in ("compared", "looser", "stricter")})
    for tenant, counts in sorted(sums.items()):
        yield {"tenant": tenant, **{word: counts[word] for word in ("compared", "looser", "stricter")}}


def _changes(report: Json) -> Iterator[JsonValue]:
    for policy in report["policies"]:
        for change in policy["changes"]:
            yield {"kind": _plain(change["kind"]), "subject": str(change["subject"]), "words": _caused(change)}


def _cost(costs: tuple[Cost, Cost] | None) -> JsonValue:
    if costs is None:
        return None
    return {"base": costs[0].as_json(), "candidate": costs[1].as_json(), "costlier_percent": _costlier(costs)}


def _costlier(costs: tuple[Cost, Cost]) -> int:
    before, after = (cost.allocations for cost in costs)
    return round(_PERCENT * (after - before) / before) if before else 0
