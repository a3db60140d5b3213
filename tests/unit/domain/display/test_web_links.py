"""Links are made of the remote's name alone, without its password, and only where there is a page on the web."""

from __future__ import annotations

import pytest
from aisecops_server.domain.display.web_links import commit_link, line_link, web_page

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://forge.example/team/policy.git", "https://forge.example/team/policy"),
        ("https://bot:secret@forge.example:8443/team/policy", "https://forge.example:8443/team/policy"),
        ("git@forge.example:team/policy.git", "https://forge.example/team/policy"),
        ("ssh://git@forge.example:2222/team/policy.git", "https://forge.example/team/policy"),
        ("/srv/policy", ""),
        ("file:///srv/policy", ""),
        ("https://forge.example/team/policy?x=1", ""),
        ("javascript://forge.example/team", ""),
        ("https://forge.example/a b", ""),
        ("", ""),
    ],
)
def test_a_remote_has_a_page_or_none(remote: str, page: str) -> None:
    assert web_page(remote) == page


def test_forges_name_commits_and_lines_in_their_own_ways() -> None:
    for host, commit, line in (
        ("github.example", f"/commit/{COMMIT}", f"/blob/{COMMIT}/data/a%20b.yaml#L7"),
        ("gitlab.example", f"/-/commit/{COMMIT}", f"/-/blob/{COMMIT}/data/a%20b.yaml#L7"),
        ("bitbucket.example", f"/commits/{COMMIT}", f"/src/{COMMIT}/data/a%20b.yaml#lines-7"),
    ):
        page = f"https://{host}/team/policy"
        assert commit_link(page, COMMIT) == page + commit
        assert line_link(page, COMMIT, file="data/a b.yaml", line=7) == page + line


def test_nothing_is_linked_that_is_nowhere() -> None:
    page = "https://forge.example/team/policy"
    assert commit_link("", COMMIT) == commit_link(page, "main") == ""
    assert line_link(page, COMMIT, file="", line=7) == line_link(page, COMMIT, file="a", line=0) == ""
    assert line_link(page, "../../evil", file="a", line=1) == ""
