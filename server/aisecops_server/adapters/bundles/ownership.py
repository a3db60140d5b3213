"""Who answers for which part of a policy: every table and all rules have an owner and somebody else who reviews them.

``bundle.yaml`` says it by path; the entry that names the longest part of a path counts. What nobody owns is refused, so
that a table which was added in passing does not become policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Literal

from pydantic import TypeAdapter, ValidationError, model_validator

from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.tables.table_fields import Entry, Text

KeeperRole = Literal["security", "platform", "secops"]


class OwnerEntry(Entry):
    """Who may change a part: a team with a role; and whose review the change needs."""

    role: KeeperRole
    team: Text
    reviewed_by: KeeperRole

    @model_validator(mode="after")
    def _is_reviewed_by_others(self) -> OwnerEntry:
        if self.role == self.reviewed_by:
            raise ValueError("nobody reviews their own changes: name another role in reviewed_by")
        return self


_OWNERS = TypeAdapter(dict[Text, OwnerEntry])


def owners(manifest: Mapping[str, JsonValue], paths: Iterable[str]) -> dict[str, JsonValue]:
    """Return the owner of each of ``paths``, as ``bundle.yaml`` says.

    Raises:
        BundleRejectedError: it says something else than owners, or a path has none.
    """
    try:
        entries = _OWNERS.validate_python(manifest.get("owners", {}))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _rejected(f"owners.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    found: dict[str, JsonValue] = {}
    for path in sorted(paths):
        entry = next((entries[part] for part in _from_longest(path) if part in entries), None)
        if entry is None:
            raise _rejected(f"nobody owns {path}")
        found[path] = entry.model_dump(mode="json")
    return found


def _from_longest(path: str) -> Iterable[str]:
    pure = PurePosixPath(path)
    return [str(pure), *(str(parent) for parent in pure.parents if str(parent) != ".")]


def _rejected(why: str) -> BundleRejectedError:
    return BundleRejectedError(
        f"bundle.yaml: {why}",
        hint="Write under 'owners' PATH: {role: security|platform|secops, team: NAME, reviewed_by: another role}",
        file="bundle.yaml",
    )
