"""What must not stand in the tree: a machine's paths, a registry's host, a promise to do it later."""

from __future__ import annotations

import re

from tests.house import tree

BINARY = (".png", ".gz", ".db", ".ico", ".woff2", ".parquet", ".binpb", ".tar")
# This file has to spell what it forbids.
ITSELF = "tests/house/test_text.py"
MACHINE = re.compile(r"(?:^|[^\w.~$}/-])/(?:work|farm|root|tmp/lab|tmp/bash_jobs)/[\w.]")
# Every Cargo.lock names the index by its well-known name, wherever the crates were fetched.
REGISTRIES = re.compile(r"pypi\.org|pythonhosted|proxy\.golang|npmjs\.|crates\.io(?!-index\"$)|repo1\.maven")
LATER = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b|NotImplemented")
ORGANISATION = re.compile(r"\bissue #?\d\b|\bstep \d of \d\b|\bCEO\b|\b(?:other|another) helpers?\b", re.IGNORECASE)


def _lines(pattern: re.Pattern[str], *, paths: list[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for path in paths
        for number, line in enumerate(tree.text(path).splitlines(), start=1)
        if pattern.search(line)
    ]


def _written(*, generated: bool = False) -> list[str]:
    """Return the text files that people wrote and, on request, those that tools made of them."""
    return [
        path
        for path in tree.files()
        if path not in (ITSELF, "LICENSE")
        and not path.endswith(BINARY)
        and (generated or not (path.startswith(tree.GENERATED) or path.endswith(".lock")))
    ]


def test_no_path_of_a_machine_stands_in_the_tree() -> None:
    assert _lines(MACHINE, paths=_written(generated=True)) == []


def test_no_registry_is_named_by_its_host() -> None:
    assert _lines(REGISTRIES, paths=_written(generated=True)) == []


def test_nothing_is_left_for_later() -> None:
    assert _lines(LATER, paths=_written()) == []


def test_the_tree_speaks_of_the_product_and_not_of_how_it_is_made() -> None:
    assert _lines(ORGANISATION, paths=_written()) == []


def test_text_files_end_with_one_newline_and_have_no_trailing_space() -> None:
    written = [path for path in _written() if path.endswith((".py", ".md", ".rego", ".proto", ".yaml", ".toml"))]
    contents = {path: tree.text(path) for path in written}
    untidy = [
        path
        for path, content in contents.items()
        if content
        and (not content.endswith("\n") or content.endswith("\n\n") or re.search(r"[ \t]+$", content, re.MULTILINE))
    ]
    assert untidy == []
