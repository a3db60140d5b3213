"""An impact as Markdown for a comment of a pull request, and as one page of HTML without anything it would load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from aisecops_server.domain.display.words import outcome_sign
from aisecops_server.domain.policy.check_reports import bounded, cell, code

Json = Mapping[str, Any]

_SHOWN_ROWS = 10
_SHOWN_GROUPS = 8
_SHOWN_CHANGES = 15
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d232b;"
    "background:#fff}"
    "table{border-collapse:collapse;margin:.5rem 0 1rem}td,th{padding:.2rem .8rem .2rem 0;text-align:left;"
    "border-bottom:1px solid #d5dae1;vertical-align:top}code{font:13px ui-monospace,monospace}"
    ".bad{color:#8f1120;font-weight:600}.good{color:#1a6b63;font-weight:600}"
    "@media (prefers-color-scheme:dark){body{color:#e4e8ee;background:#14181e}td,th{border-color:#39424e}"
    ".bad{color:#ff7066}.good{color:#7fe3d8}}"
)


def markdown(impact: Json) -> str:
    """Return an impact as a comment of a pull request, within the size that Git hosts take."""
    lines = [f"## Impact on recorded decisions: {_verdict(impact)}", "", _summary(impact), ""]
    lines += [f"- {cell(line)}" for line in _facts(impact)]
    if impact["problems"]:
        lines += ["", "### Before it is merged", ""]
        lines += [_problem(problem) for problem in impact["problems"]]
    for title, head, rows in _tables(impact):
        lines += ["", f"### {title}", "", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
        lines += [f"| {' | '.join(cell(each) for each in row)} |" for row in rows]
    lines += _groups(impact)
    lines += _changes(impact)
    return bounded("\n".join(lines) + "\n")


def page(impact: Json) -> str:
    """Return an impact as a page of HTML."""
    verdict = f'<span class="{"good" if impact["passed"] else "bad"}">{escape(_verdict(impact))}</span>'
    parts = [f"<h1>Impact on recorded decisions: {verdict}</h1>", f"<p>{escape(_plain_summary(impact))}</p>"]
    parts.append(f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in _facts(impact))}</ul>")
    if impact["problems"]:
        told = [(str(each["code"]), f"{each['message']}. {each['hint']}") for each in impact["problems"]]
        points = "".join(f"<li><code>{escape(code_)}</code> {escape(text)}</li>" for code_, text in told)
        parts.append(f"<h2>Before it is merged</h2><ul>{points}</ul>")
    for title, head, rows in _tables(impact):
        parts.append(f"<h2>{escape(title)}</h2>{_html_table(head, rows)}")
    for group in impact["groups"]:
        points = "".join(f"<li>{escape(str(line))}</li>" for line in (*group["why"], _examples(group)))
        parts.append(f"<h3>{escape(_group_title(group))}</h3><ul>{points}</ul>")
    changed = "".join(f"<li>{escape(str(each['words']))}</li>" for each in impact["changes"])
    parts.append(f"<h2>What changed in meaning</h2><ul>{changed or '<li>nothing</li>'}</ul>")
    head = f'<meta charset="utf-8"><title>Impact</title><style>{_STYLE}</style>'
    policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    return f'<!doctype html>\n<html lang="en"><head>{policy}{head}</head><body>{"".join(parts)}</body></html>\n'


def _verdict(impact: Json) -> str:
    if not impact["trustworthy"]:
        return "cannot be trusted"
    return "may be merged" if impact["passed"] else "not yet"


def _summary(impact: Json) -> str:
    base, candidate = impact["base"], impact["candidate"]
    sides = f"`{code(_named(base))}` → `{code(_named(candidate))}`"
    return f"**{impact['flips']} of {impact['compared']} decisions flip**: {_directions(impact)}. {sides}"


def _plain_summary(impact: Json) -> str:
    sides = f"{_named(impact['base'])} → {_named(impact['candidate'])}"
    return f"{impact['flips']} of {impact['compared']} decisions flip: {_directions(impact)}. {sides}"


def _directions(impact: Json) -> str:
    risky = f" ({impact['risky']} blocked before and allowed now)" if impact["risky"] else ""
    accepted = f", {impact['accepted']} accepted" if impact["accepted"] else ""
    return f"{impact['looser']} looser{risky}, {impact['stricter']} stricter{accepted}"


def _named(side: Json) -> str:
    revision = str(side["revision"])[:12]
    return f"{side['name']} {revision}".strip() if side["name"] != revision else revision


def _facts(impact: Json) -> Iterator[str]:
    fidelity = impact["fidelity"]
    yield f"fidelity: {fidelity['reproduced']} of {fidelity['checked']} decisions came out again on their own policy"
    for problem in fidelity["problems"]:
        yield f"not reproduced, {problem['count']} times: {problem['message']}"
    unknown = impact["indeterminate"] + impact["errors"]
    share = 100 * unknown / impact["compared"] if impact["compared"] else 0
    yield f"nobody can know: {impact['indeterminate']}, without a decision: {impact['errors']} ({share:.1f} %)"
    if impact["reasons_only"] or impact["obligations"]:
        others = f"for other reasons: {impact['reasons_only']}, with other obligations: {impact['obligations']}"
        yield f"same outcome {others}"
    if cost := impact["cost"]:
        yield _cost(cost)
    yield f"from {impact['source']}, in {impact['milliseconds'] / 1000:.1f} s"


def _cost(cost: Json) -> str:
    before, after = cost["base"], cost["candidate"]
    times = ", ".join(
        f"{name} {before[key] / 1000:.0f} → {after[key] / 1000:.0f} µs"
        for name, key in (("p50", "p50_ns"), ("p99", "p99_ns"))
    )
    return f"one evaluation: {times}, allocations {before['allocations']} → {after['allocations']}"


def _problem(problem: Json) -> str:
    place = f" `{code(str(problem['path']))}`" if problem["path"] else ""
    hint = f" {cell(str(problem['hint']))}." if problem["hint"] else ""
    return f"- **{problem['level']}** `{code(str(problem['code']))}`{place}: {cell(str(problem['message']))}.{hint}"


def _tables(impact: Json) -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    if impact["transitions"]:
        rows = [
            [_outcome(each["before"]), _outcome(each["after"]), str(each["count"])] for each in impact["transitions"]
        ]
        yield "From and to", ("before", "after", "decisions"), rows
    for title, key, more in (("By rule", "rule", ("severity",)), ("By agent", "agent", ()), ("By tool", "tool", ())):
        shown = sorted(impact[f"{key}s"], key=lambda each: (-each["looser"], -each["stricter"], each[key]))
        if shown:
            head = (key, *more, "looser", "stricter")
            yield title, head, [[str(each[name]) for name in head] for each in shown[:_SHOWN_ROWS]]
    if len(impact["tenants"]) > 1:
        head = ("tenant", "compared", "looser", "stricter")
        yield "By tenant", head, [[str(each[name]) for name in head] for each in impact["tenants"][:_SHOWN_ROWS]]


def _groups(impact: Json) -> list[str]:
    lines = ["", "### Samples"] if impact["groups"] else []
    for group in impact["groups"][:_SHOWN_GROUPS]:
        lines += ["", f"<details><summary>{cell(_group_title(group))}</summary>", ""]
        lines += [f"- {cell(str(line))}" for line in group["why"]]
        lines += [f"- {cell(_examples(group))}", "", "</details>"]
    return lines


def _changes(impact: Json) -> list[str]:
    changed = impact["changes"]
    if not changed:
        return ["", "Nothing changed in meaning."]
    lines = ["", f"<details><summary>What changed in meaning ({len(changed)})</summary>", ""]
    lines += [f"- {cell(str(each['words']))}" for each in changed[:_SHOWN_CHANGES]]
    return [*lines, "", "</details>"]


def _group_title(group: Json) -> str:
    rules = [f"{rule} is found now" for rule in group["fires_now"]]
    rules += [f"{rule} is no longer found" for rule in group["no_longer"]]
    because = "; ".join(rules) or group["reason"] or ", ".join(group["parts"]) or "the same rules"
    moved = f"{_outcome(group['before'])} → {_outcome(group['after'])}" if group["after"] else _outcome(group["before"])
    return f"{group['count']} × {moved}: {because}"


def _examples(group: Json) -> str:
    named = ", ".join(f"{each['decision']} (trace {each['trace']})" for each in group["examples"])
    return f"for example {named}"


def _outcome(outcome: str) -> str:
    return outcome_sign(outcome).word if outcome else "unknown"


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(each)}</th>" for each in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(each)}</td>' for each in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
