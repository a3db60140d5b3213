"""The pages say what is so: links lead somewhere, commands exist, reference pages are current, nothing is missing."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path, PurePosixPath

import click
import pytest
from aisecops_server.cli.main import cli
from aisecops_server.domain.approvals.approval import ApprovalState, Choice, SignedBy
from aisecops_server.domain.bundles.channel_standing import ChannelState
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.compliance.compliance import Coverage
from aisecops_server.domain.compliance.compliance_state import RequirementState
from aisecops_server.domain.decisions.decision import Effect, Mode, Outcome, PolicyMode
from aisecops_server.domain.events.event import Stage
from aisecops_server.domain.plans.provenance import SourceKind, TrustLevel
from aisecops_server.domain.replays.replay import Direction, VerdictClass
from aisecops_server.settings import Settings

from tests.house import pages, tree
from tests.support import opa_binary

VOCABULARY = (Outcome, Mode, Effect, Stage, SourceKind, TrustLevel, Role, VerdictClass, Direction, ApprovalState)
VOCABULARY += (Choice, SignedBy, PolicyMode, Coverage, RequirementState, ChannelState)


def test_every_reference_page_is_current() -> None:
    kept = ("PATH", "HOME", "SSL_CERT_FILE")
    environment = {name: os.environ[name] for name in kept if name in os.environ} | {"AISECOPS_OPA": str(opa_binary())}
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"],
        cwd=tree.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_link_leads_somewhere() -> None:
    broken = [
        f"{page}: {target}"
        for page in pages.pages()
        for target in sorted(pages.links(page))
        if not target.startswith(("https://", "mailto:")) and not _resolves(page, target)
    ]
    assert broken == []


def test_every_page_of_the_documentation_can_be_reached_from_its_index() -> None:
    reached: set[str] = set()
    waiting = ["README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        targets = {_target(page, link.partition("#")[0]) for link in pages.links(page) if "://" not in link}
        waiting.extend(target for target in targets if target in pages.pages() and target not in reached)
    assert sorted(page for page in tree.under("docs/", suffix=".md") if page not in reached) == []


def test_every_shown_command_exists() -> None:
    unknown = [
        f"{command.page}: {' '.join(command.words)}: {problem}"
        for page in pages.pages()
        for command in pages.commands(page)
        if (problem := _problem(command.words))
    ]
    assert unknown == []


def test_every_command_that_a_message_of_the_product_names_exists() -> None:
    named = [
        (path, tuple(shlex.split(command)))
        for path in tree.under(f"{tree.SERVER}/", "clients/", suffix=".py")
        for node in ast.walk(tree.parsed(path))
        for command in re.findall(r"'(aisecops(?: [^'\n]+)?)'", _said(node))
    ]
    assert [f"{path}: {' '.join(words)}: {problem}" for path, words in named if (problem := _problem(words))] == []
    assert len(named) > 20


def test_the_first_screen_of_the_readme_has_the_two_commands_and_no_third() -> None:
    opening = tree.text("README.md").split("\n## ")[0]
    shown = [" ".join(command.words) for command in pages.commands("README.md") if command.words]
    first = [command for command in shown if command in opening]
    assert first == ["make demo", "make test"]


@pytest.mark.parametrize("kind", VOCABULARY, ids=lambda kind: kind.__name__)
def test_the_glossary_has_every_value(kind: type[Outcome]) -> None:
    glossary = tree.text("docs/glossary.md")
    assert [value.value for value in kind if f"`{value.value}`" not in glossary] == []


def test_every_setting_is_documented_and_described() -> None:
    page = tree.text("docs/reference/settings.md")
    assert [name for name in Settings.model_fields if f"`{name}`" not in page] == []
    assert [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith(".")] == []


def test_every_command_is_documented() -> None:
    page = tree.text("docs/reference/cli.md")
    assert [path for path in _command_paths(cli, ("aisecops",)) if f"## {path}\n" not in page] == []


def test_every_task_of_the_makefile_says_what_it_does() -> None:
    makefile = tree.text("Makefile")
    tasks = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    assert tasks == described


def test_every_decision_page_has_its_parts_and_stands_in_the_index() -> None:
    index = tree.text("docs/adr/README.md")
    decisions = [path for path in tree.under("docs/adr/", suffix=".md") if path != "docs/adr/README.md"]
    parts = ("Status: ", "## Context", "## Options", "## Decision", "## Consequences")
    assert [path for path in decisions if any(part not in tree.text(path) for part in parts)] == []
    assert [path for path in decisions if PurePosixPath(path).name not in index] == []
    numbers = [int(PurePosixPath(path).name[:4]) for path in decisions]
    # Numbers are taken when a decision is begun, so one that is under way leaves a gap.
    assert numbers == sorted(set(numbers))


def test_every_path_of_the_map_of_the_code_exists() -> None:
    rows = tree.text("docs/explanation/architecture.md").split("## Where things are")[1].splitlines()
    named = [path for row in rows if row.startswith("| ") for path in re.findall(r"`([^`]+)`", row)]
    roots = (tree.ROOT, tree.ROOT / tree.SERVER, tree.ROOT / "clients/aisecops_mcp")
    assert [path for path in named if not any(any(root.glob(path)) for root in roots)] == []
    assert len(named) > 100


def test_every_threat_that_is_covered_names_a_test_that_exists() -> None:
    page = tree.text("docs/explanation/threat-model.md").split("## Threats")[1].split("## Not covered")[0]
    lines = [*page.splitlines(), ""]
    is_head = [after.startswith("| ---") or line.startswith("| ---") for line, after in itertools.pairwise(lines)]
    rows = [line for line, head in zip(lines, is_head, strict=False) if line.startswith("| ") and not head]
    untested = [row for row in rows if "](../../tests/" not in row and "_test.rego)" not in row]
    missing = [
        f"{path}: {name}"
        for row in rows
        for names, path in re.findall(r"\[([^\]]*)\]\(\.\./\.\./(tests/[^)#]+)\)", row)
        for name in re.findall(r"test_\w+", names)
        if f"def {name}(" not in tree.text(path)
    ]
    assert (bool(rows), untested, missing) == (True, [], [])


def test_every_requirement_of_aarm_names_tests_that_exist() -> None:
    rows = [line for line in tree.text("docs/reference/aarm.md").splitlines() if re.match(r"\| R\d ", line)]
    assert [row.split(" | ")[0] for row in rows] == [f"| R{number}" for number in range(1, 10)]
    named = [re.findall(r"\[(test_\w+)\]\(\.\./\.\./(tests/[^)#]+)\)", row) for row in rows]
    assert all(named)
    assert [f"{path}: {name}" for row in named for name, path in row if f"def {name}(" not in tree.text(path)] == []


def test_the_frameworks_that_are_said_to_be_tested_are_those_of_the_lock() -> None:
    said = dict(re.findall(r"^\| `([a-z-]+)` \| (\d\S*) \|", tree.text("docs/reference/integrations.md"), re.MULTILINE))
    pinned = dict(re.findall(r"^([a-z-]+)==(\S+)", tree.text("requirements/frameworks.lock"), re.MULTILINE))
    assert (len(said), {name: pinned.get(name) for name in said}) == (6, said)


def test_the_mcp_programs_that_are_said_to_be_tested_are_those_of_the_lock() -> None:
    page = tree.text("docs/reference/integrations.md")
    said = dict(re.findall(r"^\| `(@modelcontextprotocol/[a-z-]+)` \| (\d\S*) \|", page, re.MULTILINE))
    locked = json.loads(tree.text("tests/mcp_peers/package-lock.json"))["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in locked[""]["dependencies"]} == said


def test_the_identity_provider_that_is_said_to_be_tested_is_that_of_the_lock() -> None:
    said = re.search(
        r"^\| oidc-provider, from npm \| (\d\S*) \|", tree.text("docs/reference/integrations.md"), re.MULTILINE
    )
    locked = json.loads(tree.text("tests/oidc_peer/package-lock.json"))["packages"]
    assert said is not None
    assert locked["node_modules/oidc-provider"]["version"] == said[1]


def _target(page: str, link: str) -> str:
    base = (tree.ROOT / page).parent
    return Path(os.path.normpath(base / link)).relative_to(tree.ROOT).as_posix() if link else page


def _resolves(page: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = _target(page, path)
    if not (tree.ROOT / target).exists():
        return False
    return not anchor or (target.endswith(".md") and anchor in pages.anchors(target))


def _said(node: ast.AST) -> str:
    """Return the text of a string, with a letter where something is filled in."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    values = [part.value if isinstance(part, ast.Constant) else "X" for part in parts]
    return "".join(value for value in values if isinstance(value, str))


def _problem(words: tuple[str, ...]) -> str:
    words = words[next((at for at, word in enumerate(words) if "=" not in word), len(words)) :]
    if words[:1] == ("make",):
        tasks = set(re.findall(r"^\.PHONY: (\S+)$", tree.text("Makefile"), re.MULTILINE))
        unknown = [word for word in words[1:] if "=" not in word and word not in tasks]
        return f"no task {unknown[0]}" if unknown else ""
    if words[:1] and words[0].rpartition("/")[2] == "aisecops":
        return _usage_problem(words[1:])
    return ""


def _usage_problem(words: tuple[str, ...]) -> str:
    context = click.Context(cli, info_name="aisecops")
    command: click.Command = cli
    rest = [word for word in words if not word.startswith("<")]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        if found is None:
            return f"no command {rest[0]}"
        command, rest = found, rest[1:]
    # What stands behind it is another program's.
    rest = rest[: rest.index("--")] if "--" in rest else rest
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    known |= {option for parameter in cli.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in rest if word.startswith("-") and word.partition("=")[0] not in known and word != "-"]
    return f"no option {unknown[0]}" if unknown else ""


def _command_paths(command: click.Command, path: tuple[str, ...]) -> list[str]:
    if not isinstance(command, click.Group):
        return [] if command.hidden else [" ".join(path)]
    context = click.Context(command)
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return [line for name, child in found.items() if child for line in _command_paths(child, (*path, name))]
