"""Hostile texts in every field that takes words, by the ways in which attackers and colleagues can put them there."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from aisecops_client.plan import PlanBuilder
from aisecops_server.domain.callers.identity import Role

from tests.browser.hostile_texts import HostileText, hostile_texts, parcels, seen
from tests.integration.api.real import AGENT
from tests.scenes.approvals.requests import asked
from tests.scenes.planes.ui_scene import Scene
from tests.scenes.policy.git_remotes import Remote

RELEASER = "spiffe://corp.example/agent/operations-assistant"
APPROVER = "finn.olsen@corp.example"
RULE = "rego/aisecops/rules/provenance/destination_dictated/destination_dictated.rego"
STEPS = 56
SHORT = 480
LINE = 6_000
KEY = re.compile(r'name="key" value="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Look:
    """A page and what stands on it word for word."""

    path: str
    says: Sequence[str] = ()


@dataclass
class HostileScene:
    """A scene in which every field was written by an attacker, and the pages that show it."""

    scene: Scene
    texts: Sequence[HostileText] = field(default_factory=hostile_texts)
    looks: list[Look] = field(default_factory=list)

    def plant(self) -> None:
        """Put the texts in place; afterwards ``looks`` are all pages that show them."""
        self._policy()
        self.scene.run(self._plans(), seconds=300)
        self._approvals()
        self._verdicts()
        self._rollouts()
        self.looks += [Look(path) for path in ("/", "/traces", "/metrics", "/agents", "/budgets", "/system")]
        self.looks += self._addresses()

    @property
    def every(self) -> list[str]:
        return [seen(one.text) for one in self.texts]

    def _policy(self) -> None:
        """Commit a rule, a table and messages that are hostile, and have that policy decide."""
        remote = Remote(Path(self.scene.settings.repository))
        short = [one for one in self.texts if len(one.text) <= SHORT]
        rule = (remote.path / RULE).read_text(encoding="utf-8")
        words = [quoted for quoted, _ in parcels(self.texts, characters=2_000)]
        for name, text in zip(("title", "description", "remedy", "owner"), words, strict=False):
            rule = re.sub(rf"(?m)^(#\s+{name}: ).*$", lambda found, text=text: found[1] + _yaml(text), rule, count=1)
        comment = "".join(f"# {line}\n" for one in short for line in _lines(one.text))
        agents = (remote.path / "data/agents.yaml").read_text(encoding="utf-8")
        files = {RULE: rule.encode(), "data/agents.yaml": (agents + comment).encode()}
        for message, held in parcels(short, characters=SHORT):
            one_line = " ".join(message.replace("\0", "").split())
            remote.git("-c", f"user.name={_name(held[0].text)}", "commit", "--quiet", "--allow-empty", "-m", one_line)
        commit = remote.commit(files, "the candidate")
        self.scene.run(self._synced(), seconds=120)
        assert self.scene.plane is not None
        assert self.scene.plane.live.current().bundle.revision == commit
        lines = [seen(line) for one in short for line in _lines(one.text)]
        self.looks += [
            Look("/revisions"),
            Look(f"/revisions/{commit}", [seen(words[0]), seen(words[1])]),
            Look(f"/revisions/{commit}/files/data/agents.yaml", lines),
            Look(f"/revisions/{commit}/files/{RULE}"),
            Look(f"/revisions/{commit}~1..{commit}", lines),
        ]

    async def _synced(self) -> None:
        async with self.scene.client() as client:
            await client.sync()

    async def _plans(self) -> None:
        """Send plans whose every word is hostile: intents, names, addresses, contents, keys and values."""
        half = len(self.texts) // 2
        intents = [intent for intent, _ in parcels(self.texts, characters=4_096)]
        async with self.scene.client(Role.AGENT, subject=AGENT) as client:
            for texts, intent in zip((self.texts[:half], self.texts[half:]), intents, strict=False):
                plan = PlanBuilder(intent, environment="production", session_id="hostile")
                for one, other in itertools.zip_longest(texts[::2], texts[1::2], fillvalue=texts[0]):
                    held = [
                        plan.source("tool_result", said.text, name=said.text, origin_uri=said.text, tool="web/fetch")
                        for said in (one, other)
                    ]
                    plan.step("email/send", {"to": one.text, one.text: [other.text]}, influenced_by=held)
                trace = (await client.decide(plan.build())).decision.trace_id
                await self._look_at_trace(trace, [seen(one.text) for one in texts], intent)

    async def _look_at_trace(self, trace: str, texts: Sequence[str], intent: str) -> None:
        async with self.scene.client() as client:
            events = {event.type: event.event_id for event in (await client.trace(trace)).events}
        at = f"/traces/{trace}"
        concluded = f"{at}/events/{events['decision.concluded']}"
        self.looks += [
            Look(at, [seen(intent)]),
            Look(f"{at}?view=story"),
            Look(f"{at}/graph", texts),
            Look(f"{at}/graph?fold=0"),
            Look(concluded),
            Look(f"{concluded}?tab=evidence"),
            Look(f"{concluded}?tab=rego"),
            Look(f"{concluded}?tab=provenance", texts),
            Look(f"{at}/events/{events['plan.received']}?tab=evidence"),
        ]

    def _approvals(self) -> None:
        """Ask for agreement in hostile words, and answer in some."""
        notes = [note for note, _ in parcels(self.texts, characters=1_000)]
        intents = [intent for intent, _ in parcels(self.texts, characters=4_096)]
        asked = self.scene.run(self._asked(intents, len(notes)), seconds=120)
        cookie = self.scene.cookie(*Role, subject=APPROVER)
        for (path, intent), note in zip(asked.items(), notes, strict=True):
            page = self._page(path, cookie)
            digest = re.search(r'name="statement" value="([^"]*)"', page)
            assert digest
            form = {"choice": "deny", "note": note, "statement": digest[1], "key": _key(page)}
            self._send(f"{path}/vote", cookie, form)
            self.looks.append(Look(path, [seen(intent), seen(note)]))
        self.looks.append(Look("/approvals?state=all"))
        self._identical(intents)

    def _identical(self, intents: Sequence[str]) -> None:
        """Ask for the very same again and again, each time in other hostile words."""
        name = self.texts[0].text
        same = [
            self.scene.run(asked(self.scene, version="0.0.1", step=f"again-{number}", intent=intent, name=name))
            for number, intent in enumerate(intents)
        ]
        self.looks += [Look(f"/approvals/{one}", [seen(intent)]) for one, intent in zip(same, intents, strict=True)]
        self.looks.append(Look("/approvals"))

    async def _asked(self, intents: Sequence[str], count: int) -> dict[str, str]:
        found = {}
        async with self.scene.client(Role.AGENT, subject=RELEASER) as client:
            for number in range(count):
                intent = intents[number % len(intents)]
                plan = PlanBuilder(intent, environment="production", session_id=f"asks-{number}")
                request = plan.source("user_prompt", f"Deploy x {number}.1 to production.", name=intent[:4096])
                plan.step("deploy/release", {"service": "x", "version": f"{number}.1"}, influenced_by=[request])
                answer = await client.decide(plan.build())
                found[f"/approvals/{answer.approval_id}"] = intent
        return found

    def _verdicts(self) -> None:
        """Replay, and say what reviewers say in hostile words."""
        replay = self.scene.replayed("approvals.tools.crm/issue_refund.amount_over=50")
        path, cookie = f"/replays/{replay}", self.scene.cookie()
        groups = json.loads(self.scene.get(f"{path}.json")[2])["groups"]["groups"]
        reasons = [reason for reason, _ in parcels(self.texts, characters=SHORT)]
        key = _key(self._page(path, cookie))
        for reason in reasons:
            form = {"about": "group", "group": groups[0]["groupId"], "judgement": "unexpected", "reason": reason}
            self._send(f"{path}/judge", cookie, {**form, "key": key})
        self.looks += [Look(path, [seen(reason) for reason in reasons[-1:]]), Look("/replays")]

    def _rollouts(self) -> None:
        """Roll out and take back for hostile reasons, to agents with hostile names."""
        reasons = [reason for reason, _ in parcels(self.texts, characters=SHORT)]
        cookie = self.scene.cookie()
        key = _key(self._page("/rollouts", cookie))
        for began, ended in zip(reasons[::2], reasons[1::2], strict=False):
            self._send("/rollouts/start", cookie, {"revision": "HEAD~1", "reason": began, "key": key})
            page = self._page("/rollouts", cookie)
            state = {
                name: found[1]
                for name in ("rollout", "stage")
                if (found := re.search(rf'name="{name}" value="([^"]*)"', page))
            }
            self._send("/rollouts/abort", cookie, {**state, "reason": ended, "key": key})
        self.looks.append(Look("/rollouts", [seen(reason) for reason in reasons[: 2 * (len(reasons) // 2)]]))

    def _addresses(self) -> Iterator[Look]:
        """Yield addresses that somebody else may have written into a link."""
        trace = next(iter(self.scene.traces.values()))
        for text, _ in parcels(self.texts, characters=LINE):
            for path, names in (
                ("/traces", ("q",)),
                (f"/traces/{trace}", ("find", "only", "view")),
                (f"/traces/{trace}", ("find",)),
                (f"/traces/{trace}/graph", ("focus", "fold")),
                ("/evidence", ("q", "trace")),
                ("/replays/new", ("q", "trace", "to")),
                ("/rollouts", ("revision",)),
                ("/budgets", ("id",)),
                ("/approvals", ("state",)),
                ("/sign-in", ("code", "next")),
            ):
                yield Look(f"{path}?{urlencode(dict.fromkeys(names, text))}")
            part = quote(text, safe="")
            for path in ("", "agents/", "traces/", "approvals/", "replays/", f"traces/{trace}/events/", "revisions/"):
                yield Look(f"/{path}{part}")

    def _page(self, path: str, cookie: str) -> str:
        status, _, body = self.scene.ask("GET", path, headers={"Cookie": cookie})
        assert status == 200, (path, status, body[:300])
        return body.decode()

    def _send(self, path: str, cookie: str, form: Mapping[str, str]) -> None:
        status, _, body = self.scene.ask("POST", path, headers={"Cookie": cookie}, form=form)
        assert status == 303, (path, status, body.decode()[-900:])


def _key(page: str) -> str:
    found = KEY.search(page)
    assert found, page
    return found[1]


def _yaml(text: str) -> str:
    """Return text as a scalar of YAML on one line, whatever is in it."""
    escaped = "".join(
        character if character.isascii() and character.isprintable() else f"\\U{ord(character):08x}"
        for character in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{escaped}"'


def _lines(text: str) -> list[str]:
    """Return what of a text can stand in a comment of YAML, line by line."""
    allowed = "".join(c for c in text if c in "\t\n" or " " <= c <= "~" or c > "\u00a0")
    return [line for line in re.split(r"[\n\u2028\u2029\u0085]", allowed) if line.strip()]


def _name(text: str) -> str:
    """Return what Git takes as an author's name."""
    return "".join(c for c in text if c not in "<>\n\0").strip() or "nobody"
