"""What becomes of a new head of what is followed: live at once, a shadow first, or nothing until people say so."""

from __future__ import annotations

from dataclasses import dataclass

from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.bundles.bundle_status import BundleStatus
from aisecops_server.domain.errors import BundleRejectedError, RolloutRefusedError
from aisecops_server.usecases.bundles.activate import Activate, ActivateCommand, PolicySwitch
from aisecops_server.usecases.bundles.confirm import Confirm
from aisecops_server.usecases.rollouts.rollouts import Rollouts, StartCommand

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class ActivateConfirmed:
    """Makes a commit live once as many people asked for it as the channel wants."""

    activate: Activate
    confirm: Confirm
    switch: PolicySwitch

    async def __call__(self, command: ActivateCommand) -> BundleStatus:
        """Make a commit live.

        Raises:
            RolloutRefusedError: more people have to ask for it.
            UnknownRevisionError, BundleRejectedError, EngineUnavailableError, LogUnavailableError: see ``Activate``.
        """
        commit_id = await self.activate.resolve(command.revision)
        live = self.switch.live.live
        if live is None or live.commit.id != commit_id:
            await self.confirm(f"activate {commit_id}", command.order)
        return await self.activate(ActivateCommand(commit_id, command.order))


@dataclass(frozen=True, slots=True)
class Arrive:
    """Takes a new head as the channel says. While a rollout is under way, what comes later waits for its end."""

    activate: Activate
    confirm: Confirm
    rollouts: Rollouts
    switch: PolicySwitch

    async def __call__(self, command: ActivateCommand) -> BundleStatus:
        """Take a new head of what is followed.

        Raises:
            BundleRejectedError, EngineUnavailableError, LogUnavailableError: the live revision stays.
        """
        live, head = self.switch.live, CommitId(command.revision)
        if live.live is None:
            return await self.activate(command)
        rules = await self.confirm.rules()
        await self.rollouts.follow()
        current = self.rollouts.current
        if current is not None:
            live.problem = "" if current.candidate.revision == head else f"{head[:_SHOWN]} waits for a rollout to end"
        elif rules.arrives == "shadow":
            live.problem = await self._watched(command, head)
        elif rules.arrives == "wait" or rules.approvers > 1:
            live.problem = f"{head[:_SHOWN]} waits for people: 'aisecops rollout start' or 'aisecops bundle activate'"
        else:
            return await self.activate(command)
        return live.status()

    async def _watched(self, command: ActivateCommand, head: CommitId) -> str:
        """Start a rollout of a head that had none yet; return what stands in the status then."""
        last = await self.rollouts.recent(1)
        if last and last[0].rollout.candidate.revision == head:
            return f"{head[:_SHOWN]} was rolled out and is not live; the next commit is rolled out again"
        try:
            await self.rollouts.start(StartCommand(head, command.order))
        except BundleRejectedError as error:
            await self.switch.reject(head, command.order, error)
            raise
        except RolloutRefusedError:
            # Who polls and who asks for a sync may take the same head at once.
            current = self.rollouts.current
            if current is None:
                raise
            return "" if current.candidate.revision == head else f"{head[:_SHOWN]} waits for a rollout to end"
        return ""
