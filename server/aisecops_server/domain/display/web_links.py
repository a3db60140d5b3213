"""Where people look at a commit in a browser, as far as the name of the policy repository says.

Nothing is asked of anybody: a link is made of the remote's name, never with a password that stands in it.
"""

from __future__ import annotations

import re
from urllib.parse import quote

_COMMIT = re.compile(r"[0-9a-f]{40}")
_WEB = re.compile(r"https://(?:[^@/\s]*@)?(?P<host>[A-Za-z0-9.-]+(?::\d{1,5})?)/(?P<path>[A-Za-z0-9_.~/-]+)")
_SSH = re.compile(r"ssh://(?:[^@/\s]*@)?(?P<host>[A-Za-z0-9.-]+)(?::\d{1,5})?/(?P<path>[A-Za-z0-9_.~/-]+)")
_SCP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*@(?P<host>[A-Za-z0-9.-]+):(?P<path>[A-Za-z0-9_.~/-]+)")


def web_page(remote: str) -> str:
    """Return the page of the repository that a remote's name means, or an empty string when it has none."""
    for form in (_WEB, _SSH, _SCP):
        if match := form.fullmatch(remote):
            return f"https://{match['host']}/{match['path'].strip('/').removesuffix('.git')}"
    return ""


def commit_link(page: str, commit: str) -> str:
    """Return where a commit is shown; empty when there is no page, or it is no commit."""
    if not page or not _COMMIT.fullmatch(commit):
        return ""
    return f"{page}/{_words(page)[0]}/{commit}"


def line_link(page: str, commit: str, *, file: str, line: int) -> str:
    """Return where a line of a file is shown at a commit; empty when there is no page, file or commit."""
    if not page or not file or not line or not _COMMIT.fullmatch(commit):
        return ""
    _, blob, mark = _words(page)
    return f"{page}/{blob}/{commit}/{quote(file)}#{mark}{line}"


def _words(page: str) -> tuple[str, str, str]:
    """Return how a forge names commits, files and lines, told from its host's name; most do as GitHub does."""
    host = page.split("/")[2]
    if "gitlab" in host:
        return "-/commit", "-/blob", "L"
    if "bitbucket" in host:
        return "commits", "src", "lines-"
    return "commit", "blob", "L"
