"""A release: the centre's signed word to one edge, at one moment, that this very bundle is what counts.

Owns what is signed. The signature covers the edge that asked and the nonce it asked with, so that nobody can answer
with an older word or with one to somebody else; ``counter`` grows with every change of the live policy, a rollback by
people included, so that an edge never goes back on its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from aisecops_server.domain.bundles.bundle import Bundle, BundleDigest, Commit, CommitId, RuleDoc
from aisecops_server.domain.edges.edge import EdgeId
from aisecops_server.domain.errors import BundleRejectedError, InvalidPlanError
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.formats.identifiers import is_digest
from aisecops_server.domain.formats.json_fields import JsonFields
from aisecops_server.domain.formats.strict_json import parse_object

MOST_BYTES = 2 * 1024 * 1024
_CONTEXT = b"aisecops release v1\n"
_COMMIT_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Release:
    """What the centre says. Times are Unix seconds of the centre's clock."""

    edge_id: EdgeId
    nonce: str
    counter: int
    commit: Commit
    digest: BundleDigest
    archive_sha256: str
    issued_at_seconds: int
    expires_at_seconds: int
    rules: tuple[RuleDoc, ...]
    tools: tuple[str, ...]

    @property
    def lifetime_seconds(self) -> int:
        """Return how long it counts."""
        return self.expires_at_seconds - self.issued_at_seconds

    def body(self) -> bytes:
        """Return it as it travels."""
        return canonical_bytes(
            {
                "edge": self.edge_id,
                "nonce": self.nonce,
                "counter": self.counter,
                "commit": dict(asdict(self.commit)),
                "digest": self.digest,
                "archive_sha256": self.archive_sha256,
                "issued_at_seconds": self.issued_at_seconds,
                "expires_at_seconds": self.expires_at_seconds,
                "rules": [asdict(rule) for rule in self.rules],
                "tools": list(self.tools),
            }
        )


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """A release as it travels; nothing of it is verified."""

    body: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class LastRelease:
    """Which bundle the centre released last, and how often that changed so far."""

    counter: int
    revision: CommitId
    digest: BundleDigest

    def names(self, bundle: Bundle) -> bool:
        """Return whether this is the bundle that was released last."""
        return (self.revision, self.digest) == (bundle.revision, bundle.digest)


@dataclass(frozen=True, slots=True)
class Mark:
    """The highest counter that an edge ever accepted, and of which bundle; 0 before the first release."""

    counter: int = 0
    digest: str = ""

    def moved(self, release: Release) -> Mark:
        """Return the mark with ``release`` accepted.

        Raises:
            BundleRejectedError: the release is an older one, or contradicts the one that was accepted last.
        """
        if release.counter < self.counter:
            raise BundleRejectedError(
                f"the policy was rolled back: the centre says {release.counter}, and had said {self.counter} before",
                hint="The last good policy stays. If the centre's state was restored, give the edge a state of its own",
                revision=release.commit.id,
            )
        if release.counter == self.counter and release.digest != self.digest:
            raise BundleRejectedError(
                f"the centre released two policies as number {release.counter}",
                hint="The last good policy stays. Ask who runs the centre, or what stands between",
                revision=release.commit.id,
            )
        return Mark(release.counter, release.digest)


def signed_message(body: bytes) -> bytes:
    """Return what the centre signs."""
    return _CONTEXT + body


def read_release(body: bytes) -> Release:
    """Return the release that ``body`` spells.

    Raises:
        BundleRejectedError: it is none.
    """
    try:
        return _release(JsonFields(parse_object(body, field="release", limit=MOST_BYTES), "release"))
    except InvalidPlanError as error:
        raise BundleRejectedError(f"the centre's release cannot be read: {error.message}") from error


def _release(fields: JsonFields) -> Release:
    commit = fields.object("commit")
    found = Release(
        edge_id=EdgeId(fields.text("edge")),
        nonce=fields.text("nonce"),
        counter=fields.integer("counter"),
        commit=Commit(
            CommitId(commit.text("id")),
            commit.text("author"),
            commit.text("summary"),
            commit.integer("committed_at_seconds"),
        ),
        digest=BundleDigest(fields.text("digest")),
        archive_sha256=fields.text("archive_sha256"),
        issued_at_seconds=fields.integer("issued_at_seconds"),
        expires_at_seconds=fields.integer("expires_at_seconds"),
        rules=tuple(_rule(rule) for rule in fields.objects("rules")),
        tools=fields.texts("tools"),
    )
    if not is_digest(found.digest) or len(found.commit.id) != _COMMIT_CHARACTERS or found.lifetime_seconds <= 0:
        raise BundleRejectedError("the centre's release names no bundle, or ends before it begins")
    return found


def _rule(fields: JsonFields) -> RuleDoc:
    return RuleDoc(
        rule=fields.text("rule"),
        title=fields.text("title"),
        description=fields.text("description"),
        effect=fields.text("effect"),
        severity=fields.text("severity"),
        owner=fields.text("owner"),
        file=fields.text("file"),
        line=fields.integer("line"),
    )
