"""A replay's report as Markdown: what a reviewer of the policy change reads beside the diff."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from aisecops.v1 import replay_pb2
from aisecops.v1.decision_pb2 import Outcome
from aisecops.v1.review_service_pb2 import GetReviewResponse

from aisecops_server.domain.display.visible_text import visible
from aisecops_server.domain.display.words import outcome_sign
from aisecops_server.entrypoints.web.replay_review import judgement_word

_MOST_GROUPS = 50


def markdown(replay: replay_pb2.Replay, groups: Sequence[replay_pb2.FlipGroup], review: GetReviewResponse) -> str:
    """Return the report with its groups, looser ones first, and what reviewers said.

    Foreign text in it is code, so that it cannot be markup.
    """
    report = replay.report
    fidelity = report.fidelity
    trust = "can be trusted" if fidelity.trustworthy else "**cannot be trusted**"
    summary = (
        f"{report.compared:,} decisions compared: **{report.looser:,} looser** ({report.risky:,} risky), "
        f"{report.stricter:,} stricter. {fidelity.reproduced:,} of {fidelity.checked:,} came out again on their own "
        f"policy, so this {trust}."
    )
    lines = [
        f"## Replay on {_code(replay.candidate.name or replay.candidate.revision)}",
        "",
        summary,
        "",
        "| was | would be | decisions | rules that fire now | and no longer | for what changed | reviewed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {_word(group.before)} | {_word(group.after)} | {group.count:,} | {_codes(group.fires_now)} "
        f"| {_codes(group.no_longer)} | {_codes(map(_clause, group.clauses))} "
        f"| {_reviewed(review, group.group_id)} |"
        for group in groups[:_MOST_GROUPS]
    ]
    if len(groups) > _MOST_GROUPS:
        lines += ["", f"and {len(groups) - _MOST_GROUPS:,} more groups"]
    return "\n".join([*lines, *_review(review)]) + "\n"


def _reviewed(review: GetReviewResponse, group_id: str) -> str:
    said = [one for one in review.verdicts if one.group_id == group_id and not one.decision_id]
    return ", ".join(f"{judgement_word(one)} by {_code(one.judged_by)}" for one in said) or "–"


def _review(review: GetReviewResponse) -> Iterator[str]:
    """Yield what reviewers said with their reasons, and how far each is."""
    if not review.progress:
        return
    yield from ("", "### Review", "")
    for one in review.progress:
        yield f"- {_code(one.reviewer)} has seen {one.seen:,} of {one.groups:,} groups"
    for verdict in review.verdicts:
        if verdict.reason:
            about = (
                f"decision {_code(verdict.decision_id)}" if verdict.decision_id else f"group {_code(verdict.group_id)}"
            )
            word, when = judgement_word(verdict), verdict.judged_at.ToJsonString()
            yield f"- {about}: **{word}** by {_code(verdict.judged_by)} at {when}: {_code(verdict.reason)}"


def clause_word(kind: str) -> str:
    """Return what happened to a part of the policy, such as ``rule changed``."""
    return kind.lower().replace("_", " ")


def clause_place(clause: replay_pb2.PolicyChange) -> str:
    """Return where a change stands in the candidate, or stood when nothing is left of it; a value where in no file."""
    if not clause.after.file and not clause.before.file:
        return f"= {clause.after.text}"
    side = clause.after if clause.after.file else clause.before
    return f"{side.file}:{side.line}" if side.line else side.file


def _clause(clause: replay_pb2.PolicyChange) -> str:
    return f"{clause.subject} {clause_place(clause)}".strip()


def _word(outcome: Outcome.ValueType) -> str:
    return outcome_sign(Outcome.Name(outcome)).word


def _codes(rules: Iterable[str]) -> str:
    return ", ".join(_code(rule) for rule in rules) or "–"


def _code(text: str) -> str:
    return "`" + visible(text).replace("`", "'").replace("|", "/").replace("\n", " ") + "`"
