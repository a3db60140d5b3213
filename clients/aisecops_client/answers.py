"""What the control plane answered, read the safe way: whatever is not plainly allowed is not allowed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aisecops.v1 import decision_pb2, decision_service_pb2, grant_pb2

from aisecops_client.errors import AisecopsClientError, from_item_error


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision with the proof that it was recorded, and the grants by which its steps may run, in plan order.

    ``approval_id`` names the request that waits for people, or the approval that was used.
    """

    decision: decision_pb2.Decision
    receipt: decision_pb2.Receipt
    grants: tuple[grant_pb2.Grant, ...] = ()
    approval_id: str = ""

    @property
    def allowed(self) -> bool:
        """Return whether the plan may run: only a real decision with outcome ALLOW says so."""
        return (
            self.decision.mode == decision_pb2.MODE_ENFORCE
            and self.decision.outcome == decision_pb2.OUTCOME_ALLOW
            and bool(self.receipt.event_id)
        )

    def keep_receipt(self, file: Path) -> None:
        """Write the receipt that the log signed; with it, the loss of what was acknowledged can be proved."""
        file.write_text(self.receipt.signed, encoding="utf-8")

    @property
    def waits_for_people(self) -> bool:
        """Return whether the plan may run once people approve it."""
        return bool(self.approval_id) and self.outcome == "REQUIRE_APPROVAL"

    @property
    def outcome(self) -> str:
        """Return `ALLOW`, `DENY` or `REQUIRE_APPROVAL`; an outcome this client does not know reads `DENY`."""
        known = decision_pb2.Outcome.keys()[1:]
        names = {decision_pb2.Outcome.Value(name): name.removeprefix("OUTCOME_") for name in known}
        return names.get(self.decision.outcome, "DENY")

    @property
    def explanation(self) -> str:
        """Return one sentence that says why."""
        return self.decision.explanation

    @property
    def rules(self) -> tuple[str, ...]:
        """Return the rules that found something, in the decision's order, each once."""
        return tuple(dict.fromkeys(finding.rule for finding in self.decision.findings))


def answer_of(response: decision_service_pb2.DecideResponse | decision_service_pb2.DryRunResponse) -> Answer:
    """Return the answer in a response."""
    if isinstance(response, decision_service_pb2.DecideResponse):
        return Answer(response.decision, response.receipt, tuple(response.grants), response.approval_id)
    return Answer(response.decision, response.receipt)


def result_of(
    result: decision_service_pb2.DecideBatchResult | decision_service_pb2.SessionResponse,
) -> Answer | AisecopsClientError:
    """Return the answer to one item, or the error that stands for it; neither set is an error."""
    if result.WhichOneof("result") == "response":
        return answer_of(result.response)
    return from_item_error(result.error)
