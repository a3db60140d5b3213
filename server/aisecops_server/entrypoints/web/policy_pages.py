"""Policy: the commits, what one of them carries, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aisecops.v1 import bundle_pb2
from aisecops.v1 import bundle_service_pb2 as api

from aisecops_server.domain.display.words import bare
from aisecops_server.entrypoints.web.addresses import address
from aisecops_server.entrypoints.web.replay_report import clause_word
from aisecops_server.entrypoints.web.visitor import Page, Visitor

PAGE = 50
# How a line of a unified diff looks, by its first character.
_TONES = {"+": "new", "-": "gone", "@": "else"}


async def revisions(visitor: Visitor) -> Page:
    """Show the commits of the followed branch and which of them decides."""
    request = api.ListRevisionsRequest(page_size=PAGE, page_token=visitor.query("before"))
    found = await visitor.ask("BundleService/ListRevisions", request, api.ListRevisionsResponse)
    status = (await visitor.ask("BundleService/GetStatus", api.GetStatusRequest(), api.GetStatusResponse)).status
    view = {
        "revisions": found.revisions,
        "status": status,
        "state": _state,
        "more": address("/revisions", before=found.next_page_token) if found.next_page_token else "",
    }
    return Page(
        "revisions.html", "Policy", view, {"page": found, "status": status}, "Policy", command=("bundle", "list")
    )


async def revision(visitor: Visitor) -> Page:
    """Show one revision with its catalogue of rules."""
    request = api.GetRevisionRequest(revision=visitor.path("revision"))
    found = await visitor.ask("BundleService/GetRevision", request, api.GetRevisionResponse)
    rules = sorted(found.rules, key=lambda rule: rule.rule)
    status = (await visitor.ask("BundleService/GetStatus", api.GetStatusRequest(), api.GetStatusResponse)).status
    live = status.live.commit if status.HasField("live") else ""
    view = {"revision": found.revision, "rules": rules, "state": _state(found.revision), "live": live}
    commit = found.revision.commit
    data, command = {"revision": found}, ("bundle", "show", commit)
    return Page("revision.html", f"Policy {commit[:8]}", view, data, "Policy", command=command)


async def difference(visitor: Visitor) -> Page:
    """Show what differs between two revisions: what it means first, and its text below."""
    request = api.DiffRevisionsRequest(before=visitor.path("before"), after=visitor.path("after"))
    found = await visitor.ask("BundleService/DiffRevisions", request, api.DiffRevisionsResponse)
    files = [
        _TextDifference(
            file.path,
            any(file.path in (change.before.file, change.after.file) for change in found.changes),
            [(_TONES.get(line[:1], ""), line) for line in file.diff.splitlines()[2:]],
        )
        for file in found.files
    ]
    title = f"{found.before_commit[:8]} to {found.after_commit[:8]}"
    view = {"found": found, "files": files, "word": clause_word}
    command = ("bundle", "diff", found.before_commit, found.after_commit)
    return Page("difference.html", title, view, {"difference": found}, "Policy", command=command)


@dataclass(frozen=True, slots=True)
class _TextDifference:
    """A file whose text differs, by its lines without the heading of the diff; ``means`` when something in it does."""

    path: str
    means: bool
    lines: Sequence[tuple[str, str]]


async def policy_file(visitor: Visitor) -> Page:
    """Show a file as it stands in a revision."""
    request = api.GetPolicyFileRequest(revision=visitor.path("revision"), path=visitor.path("file"))
    found = await visitor.ask("BundleService/GetPolicyFile", request, api.GetPolicyFileResponse)
    lines = found.content.decode("utf-8", "replace").splitlines()
    return Page("policy_file.html", found.path, {"file": found, "lines": lines}, {"file": found}, "Policy")


def _state(revision_: bundle_pb2.Revision) -> str:
    return bare(bundle_pb2.RevisionState.Name(revision_.state)).lower()
