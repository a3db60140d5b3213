"""What an engine's reply means: a verdict, or not a decision. Pure; it reads bytes and never asks anything.

Revision, engine version and timing are read from the same reply as the result, never looked up afterwards.
Text of the engine goes to the operator's log only.
"""

from __future__ import annotations

import logging
from typing import cast

import orjson

from aisecops_server.adapters.opa.client import Reply
from aisecops_server.adapters.opa.profile import BUNDLE_NAME
from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.errors import NoDecisionError
from aisecops_server.domain.formats.canonical import JsonValue

_OK = 200
_logger = logging.getLogger(__name__)


def verdict(reply: Reply, *, revision: str) -> Verdict:
    """Return the verdict on one document.

    Raises:
        NoDecisionError: the reply is not a decision of ``revision``.
    """
    answer = _answer(reply)
    result = answer["result"]
    if not isinstance(result, dict):
        raise not_a_decision("shape", "the result is not an object")
    return Verdict(result, *_about(answer, revision=revision, share=1))


def verdicts(reply: Reply, *, count: int, revision: str) -> list[Verdict]:
    """Return the verdicts on ``count`` documents; the evaluation's time is shared out evenly.

    Raises:
        NoDecisionError: the reply is not ``count`` decisions of ``revision``.
    """
    answer = _answer(reply)
    results = answer["result"]
    if not isinstance(results, list) or len(results) != count:
        raise not_a_decision("shape", f"the result is not an array of {count}")
    if not all(isinstance(result, dict) for result in results):
        raise not_a_decision("shape", "a result is not an object")
    about = _about(answer, revision=revision, share=count)
    return [Verdict(result, *about) for result in results]


def explanation(reply: Reply, *, revision: str) -> str:
    """Return the evaluation trace of a reply that was asked to explain itself.

    Raises:
        NoDecisionError: the reply carries no trace of ``revision``.
    """
    body = _body(reply)
    _require_revision(body, revision)
    lines = body.get("explanation")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise not_a_decision("shape", "there is no explanation")
    return "\n".join(cast("list[str]", lines))


def revision_of(reply: Reply) -> str:
    """Return the revision that a reply came from, whatever its result.

    Raises:
        NoDecisionError: the reply does not say.
    """
    return _revision(_body(reply))


def not_a_decision(why: str, message: str) -> NoDecisionError:
    """Return the error for an answer that decides nothing."""
    return NoDecisionError(
        f"the engine's answer is not a decision: {message}",
        hint="Nothing was allowed. Check the live revision with 'aisecops bundle list'",
        why=why,
    )


def _answer(reply: Reply) -> dict[str, JsonValue]:
    body = _body(reply)
    if "result" not in body:
        raise not_a_decision("undefined", "the decision is undefined")
    return body


def _body(reply: Reply) -> dict[str, JsonValue]:
    if reply.status != _OK:
        _logger.warning("engine answered %d with %d bytes", reply.status, len(reply.body))
        raise not_a_decision(f"status {reply.status}", f"it answered with status {reply.status}")
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        _logger.warning("engine answered %d bytes that are no JSON", len(reply.body))
        raise not_a_decision("json", "it is not JSON") from error
    if not isinstance(body, dict):
        raise not_a_decision("shape", "it is not an object")
    return body


def _about(answer: dict[str, JsonValue], *, revision: str, share: int) -> tuple[str, str, int]:
    """Return revision, engine version and time of every verdict of a reply, which gave ``share`` of them."""
    return _require_revision(answer, revision), _version(answer), _evaluation_ns(answer) // share


def _require_revision(answer: dict[str, JsonValue], wanted: str) -> str:
    answered = _revision(answer)
    if answered != wanted:
        raise not_a_decision("revision", f"revision {answered} answered for {wanted}")
    return answered


def _revision(answer: dict[str, JsonValue]) -> str:
    match answer:
        case {"provenance": {"bundles": dict() as bundles}} if list(bundles) == [BUNDLE_NAME]:
            match bundles[BUNDLE_NAME]:
                case {"revision": str() as revision} if revision:
                    return revision
    raise not_a_decision("revision", "it does not say which revision gave it")


def _version(answer: dict[str, JsonValue]) -> str:
    match answer:
        case {"provenance": {"version": str() as version}} if version:
            return version
    raise not_a_decision("version", "it does not say which engine gave it")


def _evaluation_ns(answer: dict[str, JsonValue]) -> int:
    match answer:
        case {"metrics": {"timer_rego_query_eval_ns": int() as elapsed}} if elapsed >= 0:
            return elapsed
    raise not_a_decision("metrics", "it does not say how long it took")
