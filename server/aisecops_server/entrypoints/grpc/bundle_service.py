"""BundleService: which policy is live, and changing it. Every change says who wanted it and why."""

from __future__ import annotations

import string
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from aisecops.v1 import bundle_pb2, replay_pb2
from aisecops.v1 import bundle_service_pb2 as api
from google.protobuf.json_format import ParseDict

from aisecops_server.domain.bundles.bundle import CommitId, Revision, RuleDoc
from aisecops_server.domain.bundles.bundle_status import BundleStatus
from aisecops_server.domain.bundles.channel_standing import ChannelStanding
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import timestamp
from aisecops_server.entrypoints.grpc.methods import read_message
from aisecops_server.entrypoints.grpc.paging import page_size
from aisecops_server.usecases.bundles.activate import ActivateCommand, Order
from aisecops_server.usecases.bundles.list_revisions import RevisionPage
from aisecops_server.usecases.replays.compare_policies import Difference

_STATES = {name.removeprefix("REVISION_STATE_"): number for name, number in bundle_pb2.RevisionState.items()}
_CHANNEL_STATES = {name.removeprefix("CHANNEL_STATE_"): number for name, number in bundle_pb2.ChannelState.items()}
_NS = 1_000_000_000
_MAX_PAGE = 200
_REASON_CHARACTERS = 1000
_NAME_CHARACTERS = 200
_COMMIT_CHARACTERS = 40
_PATH_CHARACTERS = 400
_MOST_CHANGES, _DIFF_CHARACTERS = 500, 512 * 1024


class ListRevisionsUseCase(Protocol):
    """Lists commits of the followed branch."""

    async def __call__(self, *, page_size: int, page_token: str) -> RevisionPage:
        """Return a page of revisions, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class PolicyUseCases:
    """What reads and changes which revision is live."""

    activate: Callable[[ActivateCommand], Awaitable[BundleStatus]]
    rollback: Callable[[Order], Awaitable[BundleStatus]]
    sync: Callable[[], Awaitable[BundleStatus]]
    list_revisions: ListRevisionsUseCase
    show_revision: Callable[[str], Awaitable[tuple[Revision, tuple[RuleDoc, ...]]]]
    status: Callable[[], BundleStatus]
    read_file: Callable[[str, str], Awaitable[tuple[CommitId, bytes]]]
    tell_difference: Callable[[str, str], Awaitable[Difference]]


@dataclass(frozen=True, slots=True)
class BundleService:
    """The handlers of ``aisecops.v1.BundleService``."""

    policy: PolicyUseCases

    async def list_revisions(self, request: bytes, _caller: Caller) -> api.ListRevisionsResponse:
        """Answer ListRevisions."""
        asked = read_message(api.ListRevisionsRequest, request)
        page = await self.policy.list_revisions(
            page_size=page_size(asked.page_size, at_most=_MAX_PAGE), page_token=_page_token(asked.page_token)
        )
        return api.ListRevisionsResponse(
            revisions=[revision_message(revision) for revision in page.revisions], next_page_token=page.next_token
        )

    async def revision(self, request: bytes, _caller: Caller) -> api.GetRevisionResponse:
        """Answer GetRevision."""
        name = revision_name(read_message(api.GetRevisionRequest, request).revision)
        revision, rules = await self.policy.show_revision(name)
        return api.GetRevisionResponse(
            revision=revision_message(revision), rules=[_rule_message(rule) for rule in rules]
        )

    async def policy_file(self, request: bytes, _caller: Caller) -> api.GetPolicyFileResponse:
        """Answer GetPolicyFile."""
        asked = read_message(api.GetPolicyFileRequest, request)
        if not 0 < len(asked.path) <= _PATH_CHARACTERS:
            raise InvalidRequestError("path: not the path of a file", field="path")
        commit, content = await self.policy.read_file(revision_name(asked.revision), asked.path)
        return api.GetPolicyFileResponse(commit=commit, path=asked.path, content=content)

    async def diff(self, request: bytes, _caller: Caller) -> api.DiffRevisionsResponse:
        """Answer DiffRevisions."""
        asked = read_message(api.DiffRevisionsRequest, request)
        found = await self.policy.tell_difference(
            revision_name(asked.before, "before"), revision_name(asked.after, "after")
        )
        files = _within(found.texts, _DIFF_CHARACTERS)
        return api.DiffRevisionsResponse(
            before_commit=found.before,
            after_commit=found.after,
            changes=[
                ParseDict(change.as_json(), replay_pb2.PolicyChange()) for change in found.meaning[:_MOST_CHANGES]
            ],
            changes_left_out=max(0, len(found.meaning) - _MOST_CHANGES),
            problem=found.problem,
            files=files,
            files_left_out=len(found.texts) - len(files),
        )

    async def status(self, request: bytes, caller: Caller) -> api.GetStatusResponse:
        """Answer GetStatus."""
        read_message(api.GetStatusRequest, request)
        return api.GetStatusResponse(status=status_message(self.policy.status(), caller.tenant))

    async def activate(self, request: bytes, caller: Caller) -> api.ActivateResponse:
        """Answer Activate."""
        asked = read_message(api.ActivateRequest, request)
        command = ActivateCommand(revision_name(asked.revision), order_of(caller, asked.reason))
        return api.ActivateResponse(status=status_message(await self.policy.activate(command), caller.tenant))

    async def rollback(self, request: bytes, caller: Caller) -> api.RollbackResponse:
        """Answer Rollback."""
        asked = read_message(api.RollbackRequest, request)
        status = await self.policy.rollback(order_of(caller, asked.reason))
        return api.RollbackResponse(status=status_message(status, caller.tenant))

    async def sync(self, request: bytes, caller: Caller) -> api.SyncResponse:
        """Answer Sync."""
        read_message(api.SyncRequest, request)
        return api.SyncResponse(status=status_message(await self.policy.sync(), caller.tenant))


def _within(texts: Mapping[str, str], room: int) -> list[api.FileDifference]:
    """Return differences of files, in order, as long as there is room for them."""
    found = []
    for path, diff in texts.items():
        room -= len(diff)
        if room < 0:
            break
        found.append(api.FileDifference(path=path, diff=diff))
    return found


def revision_message(revision: Revision) -> bundle_pb2.Revision:
    """Return a revision as the API shows it."""
    return bundle_pb2.Revision(
        commit=revision.commit.id,
        bundle_digest=revision.digest,
        state=_STATES[revision.state.value],
        author=revision.commit.author,
        summary=revision.commit.summary,
        committed_at=timestamp(revision.commit.committed_at_seconds * 1_000_000_000),
        problem=revision.problem,
    )


def status_message(status: BundleStatus, tenant: str) -> bundle_pb2.BundleStatus:
    """Return the status of a tenant's policy as the API shows it."""
    return bundle_pb2.BundleStatus(
        live=revision_message(status.live) if status.live else None,
        previous=revision_message(status.previous) if status.previous else None,
        wanted=status.wanted,
        problem=status.problem,
        tenant=tenant,
        synced_at=timestamp(status.synced_at_ns) if status.synced_at_ns else None,
        channel=_channel_message(status.channel) if status.channel else None,
    )


def _channel_message(standing: ChannelStanding) -> bundle_pb2.ChannelStatus:
    made = bundle_pb2.ChannelStatus(channel=standing.channel, state=_CHANNEL_STATES[standing.state.value])
    if standing.last is None:
        return made
    last = standing.last.announcement
    made.commit, made.counter, made.key_id = last.commit, last.counter, standing.last.key_id
    made.issued_at.CopyFrom(timestamp(last.issued_at_seconds * _NS))
    made.expires_at.CopyFrom(timestamp(last.expires_at_seconds * _NS))
    made.closes_at.CopyFrom(timestamp(standing.closes_at_seconds * _NS))
    return made


def _rule_message(rule: RuleDoc) -> bundle_pb2.RuleDoc:
    return bundle_pb2.RuleDoc(
        rule=rule.rule,
        title=rule.title,
        description=rule.description,
        effect=rule.effect,
        severity=rule.severity,
        owner=rule.owner,
        file=rule.file,
        line=rule.line,
    )


def revision_name(text: str, field: str = "revision") -> str:
    """Return the name of a revision, which stands in ``field`` of a request.

    Raises:
        InvalidRequestError: it is none.
    """
    # A name that began with a dash could be read as an option by what looks it up.
    if not 0 < len(text) <= _NAME_CHARACTERS or text.startswith("-") or not text.isprintable() or " " in text:
        raise InvalidRequestError(f"{field}: not a commit id, branch or tag", field=field)
    return text


def order_of(caller: Caller, reason: str) -> Order:
    """Return who orders a change, and why.

    Raises:
        InvalidRequestError: the reason is too long.
    """
    if len(reason) > _REASON_CHARACTERS:
        raise InvalidRequestError(f"reason: more than {_REASON_CHARACTERS} characters", field="reason")
    return Order(principal=caller.principal.id, reason=reason)


def _page_token(text: str) -> str:
    if text and (len(text) != _COMMIT_CHARACTERS or not set(text) <= set(string.hexdigits)):
        raise InvalidRequestError("page_token: was not made by this service", field="page_token")
    return text
