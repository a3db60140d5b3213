"""Asks the running control plane what it serves, for ``doctor``."""

from __future__ import annotations

from aisecops_client.errors import AisecopsClientError

from aisecops_server.cli.connection import connect
from aisecops_server.domain.errors import EngineUnavailableError, NoLiveRevisionError


def live_revision() -> str:
    """Return what is live, in words.

    Raises:
        EngineUnavailableError: nobody answers.
        NoLiveRevisionError: it answers and serves no policy, or not the one that is wanted.
    """
    try:
        with connect() as client:
            status = client.bundle_status()
    except AisecopsClientError as error:
        raise EngineUnavailableError("it does not answer", hint="Look at its output, or start it again") from error
    if not status.live.commit:
        raise NoLiveRevisionError(f"no policy is live: {status.problem}", hint="See 'aisecops bundle status'")
    if status.problem:
        raise NoLiveRevisionError(f"{status.live.commit} is live, but {status.problem}", hint="Mend the policy commit")
    return f"serves policy {status.live.commit}"
