"""What reviewers say about what a replay changes: events in the log, and what they come to.

The last word of a reviewer on a group, or on one decision of it, stands; earlier ones stay in the log. That somebody
saw a group is a word too, which takes back nothing that they said, so a reviewer has seen what they have any word on.
Reviewers do not overrule each other: as long as one of them does not expect a group, it is unexpected.

An event says by itself what was judged: which replay on what, which transition, rules and clauses. It belongs to no
trace, because it is about policy and not about what an agent did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aisecops_server.domain.events.event import Event, EventId, Stage, StoredEvent, control_event
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.replays.flip_groups import FlipGroup
from aisecops_server.domain.replays.replay import ReplayId, ReplayRecord

JUDGED = "replay.judged"


class Judgement(StrEnum):
    """What a reviewer says."""

    SEEN = "SEEN"
    EXPECTED = "EXPECTED"
    UNEXPECTED = "UNEXPECTED"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one reviewer says about a group; with a ``decision_id`` about that decision of it only."""

    group_id: str
    decision_id: str
    judgement: Judgement
    reason: str
    judged_by: str
    judged_at_ns: int
    event_id: EventId
    log_index: int

    @property
    def subject(self) -> tuple[str, str, str]:
        """Return what it is the word on, and whose."""
        return self.judged_by, self.group_id, self.decision_id


@dataclass(frozen=True, slots=True)
class ReviewProgress:
    """How far one reviewer is with the groups of a replay."""

    reviewer: str
    seen: int
    expected: int
    unexpected: int
    groups: int


@dataclass(frozen=True, slots=True)
class Review:
    """The last words on a replay in the order of the log, and how many others they replaced."""

    verdicts: tuple[Verdict, ...]
    replaced: int
    progress: tuple[ReviewProgress, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """What a reviewer wants to say."""

    judgement: Judgement
    reason: str
    principal: str


def verdict_event(
    record: ReplayRecord, group: FlipGroup, decision_id: str, word: Word, *, id: EventId, now_ns: int
) -> Event:
    """Return the event that tells of a verdict."""
    key = group.key
    candidate: Mapping[str, Any] = record.question["candidate"]  # type: ignore[assignment]
    about: dict[str, JsonValue] = {
        "verdict_class": key.verdict_class,
        "before": key.before,
        "after": key.after,
        "fires_now": list(key.fires_now),
        "no_longer": list(key.no_longer),
        "clauses": [_clause(clause) for clause in key.clauses],
        "count": group.count,
    }
    return control_event(
        JUDGED,
        {
            "principal": word.principal,
            "replay_id": record.id,
            "candidate": {name: candidate[name] for name in ("name", "revision", "changes")},
            "group_id": key.id,
            "decision_id": decision_id,
            "judgement": word.judgement.value,
            "reason": word.reason,
            "about": about,
        },
        id=id,
        now_ns=now_ns,
        stage=Stage.POLICY,
    )


def verdict_of(stored: StoredEvent) -> Verdict:
    """Return the verdict of which an event tells."""
    told = stored.event.details()
    return Verdict(
        group_id=str(told["group_id"]),
        decision_id=str(told["decision_id"]),
        judgement=Judgement(told["judgement"]),
        reason=str(told["reason"]),
        judged_by=str(told["principal"]),
        judged_at_ns=stored.event.occurred_at_ns,
        event_id=stored.event.id,
        log_index=stored.index,
    )


def is_about(stored: StoredEvent, replay_id: ReplayId) -> bool:
    """Return whether an event tells of a verdict on a replay."""
    return stored.event.type == JUDGED and stored.event.details()["replay_id"] == replay_id


def review_of(verdicts: Iterable[Verdict], *, groups: int) -> Review:
    """Return what verdicts in the order of the log come to, on a replay of so many groups."""
    last: dict[tuple[str, str, str], Verdict] = {}
    count = 0
    for verdict in verdicts:
        count += 1
        if verdict.judgement is Judgement.SEEN and verdict.subject in last:
            continue
        last[verdict.subject] = verdict
    standing = sorted(last.values(), key=lambda verdict: verdict.log_index)
    return Review(tuple(standing), count - len(standing), _progress(standing, groups))


def _progress(standing: Sequence[Verdict], groups: int) -> tuple[ReviewProgress, ...]:
    found = []
    for reviewer in sorted({verdict.judged_by for verdict in standing}):
        said = [one.judgement for one in standing if one.judged_by == reviewer and not one.decision_id]
        found.append(
            ReviewProgress(
                reviewer, len(said), said.count(Judgement.EXPECTED), said.count(Judgement.UNEXPECTED), groups
            )
        )
    return tuple(found)


def _clause(change: Mapping[str, Any]) -> JsonValue:
    side = change["after"] if change["after"]["file"] else change["before"]
    words = {name: str(change[name]) for name in ("kind", "subject", "clause")}
    return {**words, "file": str(side["file"]), "line": int(side["line"])}
