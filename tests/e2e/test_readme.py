from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import console
from tests.e2e.readers import environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_function_of_the_readme_is_governed(home: Path) -> None:
    """A reader who made the policy repository above types what this section shows."""
    page = (ROOT / "README.md").read_text("utf-8")
    section = page.split("\n## Govern a function of yours\n")[1].split("\n## ")[0]
    [program] = [part.content for part in console.parts(section) if isinstance(part, console.Saved)]
    assert sum(1 for line in program.splitlines() if line.strip()) <= 10
    with console.shell(home, environment(home)) as shell:
        assert shell.run(console.Shown("aisecops dev policy policy", ""))[0] == 0
        for part in console.parts(section):
            if isinstance(part, console.Saved):
                shell.save(part)
                continue
            # The section shows no line of the server's, so one is awaited here before the next command.
            shown = (
                console.Shown(part.command, part.output or "policy … is live …\n")
                if part.command.endswith("&")
                else part
            )
            code, printed = shell.run(shown)
            assert (code, console.matches(part.output, printed)) == (0, True), f"$ {part.command}\n{printed}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_readme_shows_what_the_demo_prints(home: Path) -> None:
    shown = re.findall(r"^```text\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [Path(sys.executable).parent / "aisecops", "demo"],
        cwd=home,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(shown) == 3
    assert [excerpt for excerpt in shown if not console.matches(excerpt, done.stdout)] == []
