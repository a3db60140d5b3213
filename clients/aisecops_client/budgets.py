"""Reading and correcting the books: how much of which limit was used, and by whom a figure was changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from aisecops.v1 import budget_pb2
from aisecops.v1 import budget_service_pb2 as api
from aisecops.v1.budget_service_pb2_grpc import BudgetServiceStub

from aisecops_client.client import Client
from aisecops_client.errors import from_rpc_error

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Budgets:
    """Asks the control plane of ``client`` about budgets, which are named ``SUBJECT:ID/METRIC/WINDOW``."""

    client: Client

    def page(
        self,
        *,
        subject: str = "",
        subject_id: str = "",
        metric: str = "",
        window: str = "",
        frozen: bool = False,
        page_size: int = 0,
        page_token: str = "",
    ) -> api.ListBudgetsResponse:
        """Return a page of budgets by name; what is empty does not narrow.

        Raises:
            AisecopsClientError: they cannot be read.
        """
        request = api.ListBudgetsRequest(
            subject=subject,
            subject_id=subject_id,
            metric=metric,
            window=window,
            frozen=frozen,
            page_size=page_size,
            page_token=page_token,
        )
        return self._call(self._stub.ListBudgets, request)

    def budget(self, name: str) -> budget_pb2.Budget:
        """Return how one budget stands.

        Raises:
            AisecopsClientError: nobody used it, or it may not be read.
        """
        return self._call(self._stub.GetBudget, api.GetBudgetRequest(name=name)).budget

    def history(self, name: str, *, page_size: int = 0, page_token: str = "") -> api.GetHistoryResponse:
        """Return a page of the periods of a budget, newest first.

        Raises:
            AisecopsClientError: nobody used it, or it may not be read.
        """
        request = api.GetHistoryRequest(name=name, page_size=page_size, page_token=page_token)
        return self._call(self._stub.GetHistory, request)

    def adjust(
        self, name: str, *, by: int = 0, frozen: bool | None = None, reason: str, idempotency_key: str = ""
    ) -> budget_pb2.Budget:
        """Add to what was used, freeze the budget or let it go on, and return how it stands then.

        Raises:
            AisecopsClientError: it was not adjusted.
        """
        freeze = {None: budget_pb2.FREEZE_UNSPECIFIED, True: budget_pb2.FREEZE_ON, False: budget_pb2.FREEZE_OFF}[frozen]
        request = api.AdjustBudgetRequest(
            name=name, by=by, freeze=freeze, reason=reason, idempotency_key=idempotency_key
        )
        return self._call(self._stub.AdjustBudget, request).budget

    def release(self, decision_id: str, *, step_ids: Sequence[str] = (), reason: str) -> api.ReleaseReservationResponse:
        """Give back what was reserved for calls that did not run and will not; all that are open without ``step_ids``.

        Raises:
            AisecopsClientError: nothing was given back.
        """
        request = api.ReleaseReservationRequest(decision_id=decision_id, step_ids=step_ids, reason=reason)
        return self._call(self._stub.ReleaseReservation, request)

    @property
    def _stub(self) -> BudgetServiceStub:
        return BudgetServiceStub(self.client.channel)

    def _call(self, method: Callable[..., _R], request: Any) -> _R:
        try:
            return method(request, metadata=self.client.metadata, timeout=self.client.work_seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
