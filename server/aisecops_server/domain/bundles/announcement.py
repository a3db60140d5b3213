"""An announcement: a channel's signed word that this commit is what it serves, by number, until a moment.

Owns what is signed, and which word counts after which. ``counter`` only grows, so an older word never counts again;
every word ends, so one that is held back is missed. Going back is a new word that names an older commit. Besides the
commit, whose name is Git's hash, the word names the SHA-256 of the policy itself.

Order of the checks: a signature of a known key, before anything of the content is believed; then the channel, the
counter, and time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aisecops_server.domain.bundles.bundle import CommitId, PolicyTree
from aisecops_server.domain.errors import BundleRejectedError, InvalidPlanError, InvalidRequestError
from aisecops_server.domain.formats.canonical import SAFE_INTEGER, canonical_bytes, digest
from aisecops_server.domain.formats.dsse import Envelope, Signature, envelope_of, read_envelope, signed_bytes
from aisecops_server.domain.formats.identifiers import is_digest
from aisecops_server.domain.formats.json_fields import JsonFields, refusal
from aisecops_server.domain.formats.strict_json import parse_object

FILE = "announcement.json"
PAYLOAD_TYPE = "application/vnd.aisecops.announcement+json"
FORMAT = "aisecops-announcement/1"
MOST_BYTES = 16 * 1024
# What clocks may differ by; an announcement that was issued later than this from now was not issued yet.
SKEW_SECONDS = 300
# A word that counts for years would make nobody miss the next one.
MOST_HOURS = 90 * 24
_HOUR = 3600
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_STAYS = "The last good policy stays live"

Verifies = Callable[[bytes, bytes, bytes], bool]


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """A public key that a channel's word may be signed with: 32 bytes of Ed25519."""

    public: bytes

    @property
    def id(self) -> str:
        """Return its name: the beginning of its SHA-256."""
        return digest(self.public)[:16]


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a channel says. Times are Unix seconds of the clock of whoever announced."""

    channel: str
    commit: CommitId
    content: str
    counter: int
    issued_at_seconds: int
    expires_at_seconds: int

    def body(self) -> bytes:
        """Return it as it is signed."""
        return canonical_bytes(
            {
                "format": FORMAT,
                "channel": self.channel,
                "commit": self.commit,
                "content": self.content,
                "counter": self.counter,
                "issued_at_seconds": self.issued_at_seconds,
                "expires_at_seconds": self.expires_at_seconds,
            }
        )


@dataclass(frozen=True, slots=True)
class Announced:
    """An announcement whose signature a known key made; ``digest`` is that of the signed bytes."""

    announcement: Announcement
    digest: str
    key_id: str


def channel_branch(channel: str) -> str:
    """Return the branch that holds what a channel announces.

    Raises:
        InvalidRequestError: the channel's name cannot be one of a branch.
    """
    if not _NAME.fullmatch(channel) or ".." in channel or channel.endswith(".lock"):
        raise InvalidRequestError(
            f"the channel {channel[:64]!r} cannot announce: its name must be small letters, digits, and . _ - inside",
            hint="Give the channel such a name, as 'prod'",
            field="channel",
        )
    return f"channels/{channel}"


def content_of(tree: PolicyTree) -> str:
    """Return the SHA-256 of a commit's policy: of every path with the SHA-256 of its content."""
    return digest(canonical_bytes({path: digest(content) for path, content in tree.files.items()}))


def signed(announcement: Announcement, *, key: ChannelKey, sign: Callable[[bytes], bytes]) -> bytes:
    """Return an announcement as it travels."""
    body = announcement.body()
    return envelope_of(PAYLOAD_TYPE, body, [Signature(key.id, sign(signed_bytes(PAYLOAD_TYPE, body)))])


def read_announced(data: bytes, *, channel: str, keys: Sequence[ChannelKey], verifies: Verifies) -> Announced:
    """Return what a channel announces.

    Raises:
        BundleRejectedError: it cannot be read, no known key signed it, or it is another channel's.
    """
    try:
        envelope = read_envelope(data, field="announcement", limit=MOST_BYTES)
        if envelope.payload_type != PAYLOAD_TYPE:
            raise refusal("announcement.payloadType", f"must be {PAYLOAD_TYPE}")
        signer = _signer(envelope, keys, verifies)
        if signer is None:
            raise _refused(channel, "is not signed by a key of the channel", "key")
        found = _announcement(envelope.payload)
    except InvalidPlanError as error:
        raise _refused(channel, f"cannot be read: {error.message}", "form") from error
    if found.channel != channel:
        raise _refused(channel, f"is one of the channel {found.channel[:64]!r}", "channel")
    return Announced(found, digest(envelope.payload), signer.id)


def require_next(announced: Announced, last: Announced | None) -> None:
    """Refuse what may not count after ``last``, the one that counted last.

    Raises:
        BundleRejectedError: it is an older one, or another one with the same number.
    """
    found = announced.announcement
    if last is None or announced.digest == last.digest or found.counter > last.announcement.counter:
        return
    known = last.announcement.counter
    if found.counter == known:
        raise _refused(found.channel, f"is another one with the number {known}, which counted already", "fork")
    raise _refused(found.channel, f"was rolled back: it has the number {found.counter}, after {known}", "rollback")


def require_timely(announcement: Announcement, now_seconds: int) -> None:
    """Refuse what does not count yet, counts no more, or counts for too long.

    Raises:
        BundleRejectedError: it is one of these.
    """
    channel, ends = announcement.channel, announcement.expires_at_seconds
    if ends - announcement.issued_at_seconds > MOST_HOURS * _HOUR:
        raise _refused(channel, f"counts for longer than {MOST_HOURS // 24} days", "lifetime")
    if announcement.issued_at_seconds > now_seconds + SKEW_SECONDS:
        raise _refused(channel, "was issued in the future", "clock")
    if now_seconds >= ends:
        raise _refused(channel, f"ended {now_seconds - ends} seconds ago", "expired")


def require_content(announcement: Announcement, tree: PolicyTree) -> None:
    """Refuse a policy that is not the one that was announced.

    Raises:
        BundleRejectedError: the commit holds another policy.
    """
    if content_of(tree) != announcement.content:
        raise _refused(announcement.channel, f"names another content of {announcement.commit[:12]}", "content")


def missing(channel: str) -> BundleRejectedError:
    """Return the error for a channel that announces nothing."""
    return _refused(channel, f"is not there: the repository has no {channel_branch(channel)}", "missing")


def _signer(envelope: Envelope, keys: Sequence[ChannelKey], verifies: Verifies) -> ChannelKey | None:
    # What a signature says of its key is a name that anybody can write; whose it is shows only in verifying.
    message = envelope.signed()
    return next(
        (key for key in keys for each in envelope.signatures if verifies(key.public, message, each.content)), None
    )


def _announcement(payload: bytes) -> Announcement:
    fields = JsonFields(parse_object(payload, field="announcement", limit=MOST_BYTES), "announcement")
    names = ("channel", "commit", "content", "counter", "issued_at_seconds", "expires_at_seconds")
    fields.allows("format", *names)
    if fields.text("format") != FORMAT:
        raise refusal(fields.field("format"), f"must be {FORMAT}")
    found = Announcement(
        fields.text("channel"),
        CommitId(fields.text("commit")),
        fields.text("content"),
        *(fields.integer(name) for name in names[3:]),
    )
    if not _COMMIT.fullmatch(found.commit) or not is_digest(found.content):
        raise refusal(fields.field("commit"), "must be a whole commit id, and content a SHA-256")
    if not 0 < found.counter <= SAFE_INTEGER or not 0 <= found.issued_at_seconds < found.expires_at_seconds:
        raise refusal(fields.field("counter"), "must be from 1 on, and the end after the beginning")
    return found


def _refused(channel: str, why: str, cause: str) -> BundleRejectedError:
    return BundleRejectedError(
        f"the announcement of the channel {channel} {why}", hint=f"{_STAYS}. {_NEXT[cause]}", why=cause
    )


_ANNOUNCE = "Announce anew: 'aisecops policy announce'"
_NEXT = {
    "missing": _ANNOUNCE,
    "form": _ANNOUNCE,
    "key": "Announce with a key that the setting channel_keys lists, and find out who signed this one",
    "channel": "Find out who copied it there; then announce anew",
    "fork": "Two people announced at once, or a key is in other hands: find out, then announce with a higher number",
    "rollback": "Find out who set the branch back; then announce with a higher number, by --counter",
    "lifetime": _ANNOUNCE,
    "clock": "Set the clocks right, of this machine and of whoever announces",
    "expired": _ANNOUNCE,
    "content": "Find out who replaced the commit; then announce what is meant",
}
