"""Between decision and execution: a thousand plans, each of their calls changed in every place, and none of it runs."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aisecops_grant.arguments import arguments_sha256
from aisecops_grant.token import GrantRefusedError
from aisecops_grant.verifier import GrantKeys, GrantVerifier
from aisecops_server.domain.errors import GrantNotUsableError
from aisecops_server.domain.plans.plan_builder import StepDraft
from aisecops_server.usecases.grants.issue_grants import SignedGrant

from tests.scenes.grants.granting import AGENT, GRANT_SECONDS, Workshop, workshop

PLANS = 1000
AT_ONCE = 50
# Of each call, so that the whole takes seconds; which ones they are differs from call to call.
MOST_CHANGES = 12
SEED = 20261126
TOOLS = ("mail/send", "files/write", "crm/read", "web/fetch")
Arguments = dict[str, Any]


def value(chance: random.Random, depth: int) -> Any:
    match chance.randrange(8 if depth else 6):
        case 0:
            return chance.randrange(-(10**6), 10**6)
        case 1:
            return chance.random() * 1000
        case 2:
            return chance.choice([True, False, None])
        case 3 | 4 | 5:
            return "".join(chance.choice("abcé\u2028@./ ") for _ in range(chance.randrange(12)))
        case 6:
            return [value(chance, depth - 1) for _ in range(chance.randrange(4))]
        case _:
            return {f"k{at}": value(chance, depth - 1) for at in range(chance.randrange(4))}


def call(chance: random.Random) -> tuple[str, Arguments]:
    return chance.choice(TOOLS), {f"a{at}": value(chance, 2) for at in range(chance.randint(1, 4))}


def changed(part: Any) -> Any:
    """Return another value, of the same kind where there is one."""
    if isinstance(part, bool) or part is None:
        return not part
    if isinstance(part, dict):
        return {**part, "more": 1}
    return part + ("\u200b" if isinstance(part, str) else [None] if isinstance(part, list) else 1)


def places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    members = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, member in members:
        yield from places(member, (*path, key))


def at(arguments: Arguments, path: tuple[Any, ...]) -> tuple[Any, Any]:
    holder: Any = arguments
    for key in path[:-1]:
        holder = holder[key]
    return holder, path[-1]


def swapped(tool: str, arguments: Arguments) -> Iterator[tuple[str, Arguments]]:
    """Yield the call with each of its places changed, removed, or joined by another."""
    for path in places(arguments):
        for how in ("change", "remove"):
            other = copy.deepcopy(arguments)
            holder, key = at(other, path)
            if how == "change":
                holder[key] = changed(holder[key])
            else:
                del holder[key]
            yield tool, other
    yield tool, {**arguments, "bcc": "eve@evil.example"}
    yield from ((name, arguments) for name in (*TOOLS, "mail/sendx", "evil/send") if name != tool)


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_no_change_of_a_thousand_plans_is_executed(tmp_path: Path) -> None:
    chance, executed, tried = random.Random(SEED), [], 0
    async with workshop(tmp_path) as shop:
        verifier = GrantVerifier(
            GrantKeys(shop.key.key_set()), server="", clock=lambda: shop.clock.now_ns() / 1e9, skew_seconds=0
        )
        for _ in range(PLANS // AT_ONCE):
            plans = [[call(chance) for _ in range(chance.randint(1, 3))] for _ in range(AT_ONCE)]
            granted = await asyncio.gather(*(shop.granted(*map(_step, enumerate(plan))) for plan in plans))
            online = []
            for plan, grants in zip(plans, granted, strict=True):
                for (tool, arguments), signed in zip(plan, grants, strict=True):
                    variants = list(swapped(tool, arguments))
                    variants = chance.sample(variants, min(len(variants), MOST_CHANGES))
                    # The calls of the other steps, by this step's grant.
                    variants += [other for other in plan if _key(*other) != _key(tool, arguments)]
                    tried += len(variants)
                    executed += [variant for variant in variants if _verified(verifier, signed, *variant)]
                    online.append((signed, *chance.choice(variants)))
            redeemed = await asyncio.gather(*(_redeemed(shop, *item) for item in online))
            executed += [item for item, done in zip(online, redeemed, strict=True) if done]
            # What was granted does run: the refusals above were for the change and for nothing else.
            for plan, grants in zip(plans, granted, strict=True):
                for (tool, arguments), signed in zip(plan, grants, strict=True):
                    assert _verified(verifier, signed, tool, arguments)
        kinds = set(await shop.incidents())
    assert executed == []
    assert tried > 10 * PLANS
    assert kinds == {"other_arguments", "other_tool"}


@pytest.mark.asyncio
async def test_no_field_of_a_grant_can_be_changed(tmp_path: Path) -> None:
    """The token with each of its claims changed, under the signature that it had."""
    async with workshop(tmp_path) as shop:
        [signed] = await shop.granted()
        head, payload, signature = signed.token.split(".")
        claims = json.loads(_decoded(payload))
        for name, was in claims.items():
            forged = _encoded(json.dumps({**claims, name: changed(was)}).encode())
            with pytest.raises(GrantNotUsableError) as refused:
                await shop.redeem(SignedGrant(signed.grant, f"{head}.{forged}.{signature}"))
            assert refused.value.metadata()["why"] == "forged"
        shop.clock.advance(GRANT_SECONDS - 1)
        await shop.redeem(signed)


def _step(numbered: tuple[int, tuple[str, Arguments]]) -> StepDraft:
    number, (tool, arguments) = numbered
    return StepDraft(f"s{number}", tool, json.dumps(arguments).encode())


def _key(tool: str, arguments: Arguments) -> tuple[str, str]:
    return tool, arguments_sha256(arguments)


def _verified(verifier: GrantVerifier, signed: SignedGrant, tool: str, arguments: Arguments) -> bool:
    """Return whether the tool server would make the call; each has its own verifier, as each tool server does."""
    own = GrantVerifier(verifier.keys, server=signed.grant.audience, clock=verifier.clock, skew_seconds=0)
    try:
        own.verify(signed.token, tool=tool, arguments=arguments, agent_id=AGENT.id)
    except GrantRefusedError:
        return False
    return True


async def _redeemed(shop: Workshop, signed: SignedGrant, tool: str, arguments: Arguments) -> bool:
    try:
        await shop.redeem(signed, tool=tool, arguments_digest=arguments_sha256(arguments))
    except GrantNotUsableError:
        return False
    return True


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
