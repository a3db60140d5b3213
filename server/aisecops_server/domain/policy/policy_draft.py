"""Policy that stands in no commit: files of a working tree, or a commit's files with some values of tables changed.

Such a tree is named by its content, so that the same draft is the same everywhere. What a draft's files may be called
is checked here as strictly as a commit's, because their names become paths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from aisecops_server.domain.bundles.bundle import CommitId, PolicyTree
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.policy.policy_meaning import Change
from aisecops_server.domain.policy.policy_paths import (
    MAX_ENTRIES,
    MAX_FILE_BYTES,
    MAX_TREE_BYTES,
    is_policy,
    problem_of_name,
)
from aisecops_server.domain.tables.table_patch import TableChange, patched

_CONTEXT = b"aisecops policy draft v1\n"
_COMMIT_CHARACTERS = 40
_SUFFIXES = (".yaml", ".yml", ".json")


def drafted_tree(files: Mapping[str, bytes]) -> PolicyTree:
    """Return the tree of a working copy's ``files``.

    Raises:
        InvalidRequestError: there is no policy among them, or a file has a name or size that policy may not have.
    """
    if len(files) > MAX_ENTRIES or sum(map(len, files.values())) > MAX_TREE_BYTES:
        raise _refused("", f"there are more than {MAX_ENTRIES:,} files or {MAX_TREE_BYTES // 1024**2} MiB")
    for path, content in files.items():
        if problem := problem_of_name(path):
            raise _refused(path, problem)
        if len(content) > MAX_FILE_BYTES:
            raise _refused(path, f"the file has more than {MAX_FILE_BYTES:,} bytes")
    kept = {path: files[path] for path in sorted(files) if is_policy(path)}
    if not kept:
        raise _refused("", "there is no policy among them")
    return _named(kept, frozenset(kept))


def changed_tree(tree: PolicyTree, tables: Mapping[str, JsonValue], changes: Sequence[TableChange]) -> PolicyTree:
    """Return ``tree``, whose tables are ``tables``, with some of their values changed.

    Raises:
        InvalidRequestError: a change does not fit.
    """
    if not changes:
        return tree
    made = patched(tables, changes)
    files = dict(tree.files)
    for table in sorted({change.table for change in changes}):
        files[_path_of(tree, table)] = canonical_bytes(made[table])
    paths = {_path_of(tree, change.table) for change in changes}
    return _named(files, tree.drafted | paths)


def undone(tree: PolicyTree, change: Change, *, before: PolicyTree, tables: Mapping[str, JsonValue]) -> PolicyTree:
    """Return ``tree``, whose tables are ``tables``, with one change since ``before`` taken back.

    A value of a table is taken back alone; of a rule, the file that it stands in.
    """
    if change.path:
        return with_row(tree, tables, change.path, change.was, removes=not change.before.file)
    files = dict(tree.files)
    paths = {part.file for part in (change.before, change.after) if part.file}
    for path in paths:
        files.pop(path, None)
        if path in before.files:
            files[path] = before.files[path]
    return _named(files, tree.drafted | paths & files.keys())


def with_files(tree: PolicyTree, changed: Mapping[str, bytes | None]) -> PolicyTree:
    """Return ``tree`` with some files as given, or without them where nothing is."""
    files = {**tree.files, **changed}
    kept = {path: content for path, content in files.items() if content is not None}
    return _named(kept, (tree.drafted | changed.keys()) & kept.keys())


def with_row(
    tree: PolicyTree,
    tables: Mapping[str, JsonValue],
    path: Sequence[str],
    value: JsonValue,
    *,
    removes: bool = False,
) -> PolicyTree:
    """Return ``tree``, whose tables are ``tables``, with one row as ``value``, or without it.

    Unlike the dots of a change that a person writes, ``path`` leaves no doubt where a key ends.
    """
    file = _path_of(tree, path[0])
    table = _with_value(tables[path[0]], path[1:], value, removes=removes)
    return _named({**tree.files, file: canonical_bytes(table)}, tree.drafted | {file})


def _with_value(part: JsonValue, path: Sequence[str], value: JsonValue, *, removes: bool) -> JsonValue:
    inner = dict(part) if isinstance(part, Mapping) else {}
    if len(path) > 1:
        inner[path[0]] = _with_value(inner.get(path[0], {}), path[1:], value, removes=removes)
    elif removes:
        inner.pop(path[0], None)
    else:
        inner[path[0]] = value
    return inner


def content_name(files: Mapping[str, bytes]) -> CommitId:
    """Return the name that policy files have by their content, in the form of a commit id."""
    whole = hashlib.sha256(_CONTEXT)
    for path in sorted(files):
        whole.update(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n".encode())
    return CommitId(whole.hexdigest()[:_COMMIT_CHARACTERS])


def _named(files: Mapping[str, bytes], drafted: frozenset[str]) -> PolicyTree:
    return PolicyTree(content_name(files), files, drafted)


def _path_of(tree: PolicyTree, table: str) -> str:
    paths = [f"data/{table}{suffix}" for suffix in _SUFFIXES]
    return next((path for path in paths if path in tree.files), paths[0])


def _refused(path: str, why: str) -> InvalidRequestError:
    where = f"{path}: " if path else "these files cannot be read as policy: "
    return InvalidRequestError(
        f"{where}{why}", hint="Give the files of a policy repository, by their paths in it", field="files"
    )
