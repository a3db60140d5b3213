"""The client of the AISecOps control plane. It needs gRPC and protobuf, nothing else.

    with Client.connect("unix:/run/aisecops.sock", token) as client:
        plan = PlanBuilder(intent="answer the ticket")
        prompt = plan.source("user_prompt", "Send Ada the invoice.")
        plan.step("mail/send", {"to": "ada@example.org"}, influenced_by=[prompt])
        if client.decide(plan).allowed:
            ...

An error of any kind means: do not act.
"""

from aisecops_client.aio import AsyncClient
from aisecops_client.answers import Answer
from aisecops_client.client import Client
from aisecops_client.enforce import Guard, current_call
from aisecops_client.enforce_aio import AsyncGuard
from aisecops_client.errors import (
    AccessRefusedError,
    AisecopsClientError,
    ApprovalNotUsableError,
    FaultError,
    NotFoundError,
    RequestRefusedError,
    RetryLaterError,
)
from aisecops_client.messages import tool_call_message
from aisecops_client.plan import PlanBuilder
from aisecops_client.refusals import (
    ApprovalRequiredError,
    CallDeniedError,
    CallRefusedError,
    ConfirmationDeclinedError,
    GrantNotUsableError,
    ObligationUnmetError,
)
from aisecops_client.screening import Screened, TextHeldError
from aisecops_client.transport import tls

__all__ = [
    "AccessRefusedError",
    "AisecopsClientError",
    "Answer",
    "ApprovalNotUsableError",
    "ApprovalRequiredError",
    "AsyncClient",
    "AsyncGuard",
    "CallDeniedError",
    "CallRefusedError",
    "Client",
    "ConfirmationDeclinedError",
    "FaultError",
    "GrantNotUsableError",
    "Guard",
    "NotFoundError",
    "ObligationUnmetError",
    "PlanBuilder",
    "RequestRefusedError",
    "RetryLaterError",
    "Screened",
    "TextHeldError",
    "current_call",
    "tls",
    "tool_call_message",
]
