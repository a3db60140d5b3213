"""``aisecops budget`` as people and programs use it, against a control plane that serves."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aisecops_client import PlanBuilder
from aisecops_server.cli.main import run
from aisecops_server.domain.budgets.budget import Metric
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.log.record import ChangeRecord

from tests.fakes.charging_engine import Limit
from tests.scenes.budgets.budget_server import AGENT, BudgetApi, serving

PAGE = (Path(__file__).parents[3] / "docs/reference/cli.md").read_text("utf-8")
SHAPES = {
    name: set(re.findall(r"`(\w+)`", fields))
    for name, fields in re.findall(r"^\| `(budget \w+)` \| (.+) \|$", PAGE, re.MULTILINE)
}
DAY = f"agent:{AGENT}/tokens/day"


@dataclass
class Shell:
    """Runs command lines with the roles of an operator."""

    api: BudgetApi
    token: Path
    captured: pytest.CaptureFixture[str]

    async def __call__(self, *line: str, code: int = 0) -> str:
        given = ("--server", self.api.address, "--token-file", str(self.token))
        assert await asyncio.to_thread(run, ["budget", *line, *given]) == code
        return self.captured.readouterr().out

    async def json(self, *line: str, code: int = 0) -> Any:
        return json.loads(await self(*line, "-o", "json", code=code))


@pytest_asyncio.fixture
async def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shell]:
    monkeypatch.setenv("COLUMNS", "160")
    limits = (Limit("agent", "tokens", "day", 1_000_000, per_step=300_000), Limit("session", "calls", "session", 20))
    async with serving(tmp_path, limits) as api:
        token = tmp_path / "token"
        token.write_text(api.token(*Role, subject="ada"))
        yield Shell(api, token, capsys)


async def used(api: BudgetApi, steps: int = 1) -> str:
    builder = PlanBuilder(intent="read", session_id="s-1")
    for _ in range(steps):
        builder.step("mail/read", {})
    async with api.client() as client:
        return (await client.decide(builder)).decision.decision_id


async def overrun(api: BudgetApi, decision: str) -> None:
    ended = await api.settlements.of_step(decision, "step-1", {Metric.TOKENS: 400_000}, now_ns=10**18)
    await api.log.append_change(ChangeRecord(ended.events, ended.changes))


@pytest.mark.asyncio
async def test_a_list_shows_limit_used_reserved_left_and_when_it_resets(shell: Shell) -> None:
    assert await shell("list") == ""
    await used(shell.api, 2)
    table = (await shell("list")).splitlines()
    assert table[0].split() == ["whose", "what", "limit", "used", "reserved", "left", "resets", "in"]
    assert [line.split()[1:8] for line in table[1:]] == [
        ["agent", "support", "tokens/day", "1,000,000", "0", "600,000", "400,000"],
        ["session", "support#s-1", "calls/session", "20", "0", "2", "18"],
    ]
    assert table[2].rstrip().endswith("never")
    assert table[1].rstrip()[-1] in "hms"


@pytest.mark.asyncio
async def test_what_a_program_reads_is_the_api(shell: Shell) -> None:
    await used(shell.api)
    page = await shell.json("list", "--subject", "session", "--limit", "1")
    assert set(page) == SHAPES["budget list"]
    (budget,) = page["budgets"]
    assert (budget["name"], budget["reserved"]) == (f"session:{AGENT}#s-1/calls/session", "1")
    assert set(await shell.json("show", DAY)) == SHAPES["budget show"]
    assert set(await shell.json("history", DAY)) == SHAPES["budget history"]
    adjusted = await shell.json("adjust", DAY, "--by", "5", "--reason", "test")
    assert set(adjusted) == SHAPES["budget adjust"]
    assert adjusted["budget"]["used"] == "5"


@pytest.mark.asyncio
async def test_a_budget_that_is_frozen_or_used_up_says_so_with_its_exit_code(shell: Shell) -> None:
    await overrun(shell.api, await used(shell.api))
    shown = await shell("show", DAY, code=3)
    assert "frozen" in shown
    assert "400,000, of it overrun 100,000" in shown
    history = await shell("history", DAY)
    assert "overrun: 400,000 where 300,000 was reserved" in history
    line = ("adjust", DAY, "--unfreeze", "--by", "-400000", "--reason", "the provider gave it back")
    assert "400,000" not in await shell(*line)
    assert "ada adjusted it by -400,000 and let it go on: the provider gave it back" in await shell("history", DAY)
    assert (await shell("show", DAY)).count("1,000,000") == 2


@pytest.mark.asyncio
async def test_a_release_says_what_is_still_open(shell: Shell) -> None:
    decision = await used(shell.api, 2)
    part = await shell("release", decision, "--step", "step-1", "--reason", "stopped")
    assert part.strip() == f"{decision}: reserved, still open: step-2"
    rest = await shell.json("release", decision, "--reason", "stopped")
    assert (set(rest), rest["state"], rest["openStepIds"]) == (SHAPES["budget release"], "VOID", [])


@pytest.mark.asyncio
async def test_a_correction_needs_a_reason_and_a_budget_that_is_there(shell: Shell) -> None:
    assert await shell("adjust", DAY, "--by", "1", code=2) == ""
    assert await shell("adjust", DAY, "--by", "1", "--reason", "why", code=6) == ""
    assert await shell("show", "nobody", code=2) == ""
