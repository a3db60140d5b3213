"""Lists of revisions say what each is used for now."""

from __future__ import annotations

import pytest
from aisecops_server.domain.bundles.bundle import RevisionState
from aisecops_server.domain.errors import BundleRejectedError, UnknownRevisionError
from aisecops_server.usecases.bundles.list_revisions import ListRevisions, ShowRevision

from tests.fakes.policies import commit_id
from tests.unit.usecases.control import Control

pytestmark = pytest.mark.asyncio


async def pages(control: Control, size: int) -> list[list[int]]:
    listing = ListRevisions(control.repository, control.builder, control.live)
    found, token = [], ""
    while True:
        page = await listing(page_size=size, page_token=token)
        found.append([int(revision.commit.id, 16) for revision in page.revisions])
        token = page.next_token
        if not token:
            return found


async def test_each_revision_has_its_state_digest_and_problem():
    control = Control()
    for number in (1, 2, 3):
        control.repository.push(number)
        await control.sync()
    control.builder.failures[control.repository.push(4)] = BundleRejectedError("broken")
    with pytest.raises(BundleRejectedError):
        await control.sync()
    page = await ListRevisions(control.repository, control.builder, control.live)(page_size=50, page_token="")
    assert [(revision.state, bool(revision.digest), revision.problem) for revision in page.revisions] == [
        (RevisionState.REJECTED, False, "broken"),
        (RevisionState.LIVE, True, ""),
        (RevisionState.PREVIOUS, True, ""),
        (RevisionState.AVAILABLE, True, ""),
    ]


async def test_pages_follow_each_other_without_gap_or_repetition():
    control = Control()
    for number in range(1, 8):
        control.repository.push(number)
    await control.sync()
    assert await pages(control, 3) == [[7, 6, 5], [4, 3, 2], [1]]
    assert await pages(control, 7) == [[7, 6, 5, 4, 3, 2, 1]]


async def test_before_anything_was_read_there_is_no_list():
    control = Control()
    with pytest.raises(UnknownRevisionError):
        await ListRevisions(control.repository, control.builder, control.live)(page_size=1, page_token="")


async def test_one_revision_is_shown_by_any_name_and_built_if_it_was_not():
    control = Control()
    control.repository.push(1)
    control.repository.push(2)
    await control.sync()
    show = ShowRevision(control.repository, control.builder, control.live)
    assert (await show("main"))[0].state is RevisionState.LIVE
    revision, _ = await show(commit_id(1))
    assert (revision.state, bool(revision.digest)) == (RevisionState.AVAILABLE, True)
    with pytest.raises(UnknownRevisionError):
        await show("f" * 40)
