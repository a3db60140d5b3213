"""The seams: what use cases need from the world. Adapters implement them and raise only ``AisecopsError``s."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Protocol

from aisecops_server.domain.approval import ApprovalId
from aisecops_server.domain.bundle import Activated, Bundle, Commit, CommitId, PolicyTree
from aisecops_server.domain.decision import DecisionId, Verdict
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.event import Event, EventId, StoredEvent
from aisecops_server.domain.identity import Presented, Principal
from aisecops_server.domain.plan import PlanId, TraceId
from aisecops_server.domain.record import (
    ChangeRecord,
    DecisionRecord,
    LogHead,
    LogReport,
    Receipt,
    StoredDecision,
    StoredTrace,
    TraceFilter,
    TracePage,
)
from aisecops_server.domain.recorded_trace import Evaluation, RecordedTrace, Tally
from aisecops_server.domain.signed_note import Note, NoteKey
from aisecops_server.domain.tls_material import TlsMaterial
from aisecops_server.domain.witnessing import WitnessAnswer


class Clock(Protocol):
    """The only source of time."""

    def now_ns(self) -> int:
        """Return Unix time in nanoseconds."""
        ...

    def monotonic_ns(self) -> int:
        """Return a time that never goes back, for measuring durations."""
        ...


class Ids(Protocol):
    """The only source of fresh identifiers; unguessable and roughly ordered by time."""

    def trace_id(self) -> TraceId:
        """Return 32 hexadecimal digits."""
        ...

    def plan_id(self) -> PlanId:
        """Return a fresh plan id."""
        ...

    def decision_id(self) -> DecisionId:
        """Return a fresh decision id."""
        ...

    def event_id(self) -> EventId:
        """Return a fresh event id."""
        ...

    def approval_id(self) -> ApprovalId:
        """Return a fresh approval id; later ones sort behind earlier ones."""
        ...

    def notice_id(self) -> str:
        """Return a fresh id of a message; later ones sort behind earlier ones."""
        ...

    def nonce(self) -> str:
        """Return what nobody can guess and nothing else has."""
        ...


class Authenticator(Protocol):
    """Tells who a caller is from what it presents."""

    def authenticate(self, presented: Presented) -> Principal:
        """Return the principal that ``presented`` proves.

        Raises:
            UnauthenticatedError: it proves nobody.
        """
        ...


class TlsSource(Protocol):
    """What a listener proves itself with, which is renewed while it listens."""

    def material(self) -> TlsMaterial:
        """Return what is to be used now.

        Raises:
            InvalidRequestError: it cannot be used.
        """
        ...

    def renewed(self) -> TlsMaterial | None:
        """Return what is to be used instead of what was returned last, if that changed; it may be asked often."""
        ...


class PolicyEngine(Protocol):
    """One bundle revision, ready to evaluate. Evaluation is pure: same document, same verdict."""

    @property
    def bundle(self) -> Bundle:
        """Return the bundle that this engine serves."""
        ...

    @property
    def problem(self) -> str:
        """Return why it cannot answer now, or an empty string when it can."""
        ...

    async def evaluate(self, document: bytes, *, deadline_seconds: float) -> Verdict:
        """Evaluate one input document.

        Raises:
            EngineUnavailableError: no answer within the deadline, or no engine.
            NoDecisionError: an answer that is not a decision (undefined, error, wrong shape).
        """
        ...

    async def evaluate_batch(
        self, documents: Sequence[bytes], *, deadline_seconds: float
    ) -> list[Verdict | AisecopsError]:
        """Evaluate many documents; answers in their order, an error standing in for what could not be decided."""
        ...

    async def explain(self, document: bytes, *, deadline_seconds: float) -> str:
        """Return the engine's own evaluation trace of one document, as text with file:line."""
        ...


class EnginePool(Protocol):
    """Engines by bundle. An engine stays up while somebody holds it."""

    async def acquire(self, bundle: Bundle) -> PolicyEngine:
        """Return a ready engine for ``bundle``, starting one if none is warm.

        Raises:
            BundleRejectedError: the engine refuses the bundle.
            EngineUnavailableError: no engine could be started.
        """
        ...

    async def retain(self, digests: Sequence[str]) -> None:
        """Keep exactly these bundles warm for sure; others may be stopped once idle."""
        ...

    async def close(self) -> None:
        """Stop every engine."""
        ...


class PolicyRepository(Protocol):
    """The Git repository that policy lives in. Reads only; nothing of it is ever executed."""

    async def fetch(self, *, proposal: str = "") -> None:
        """Bring the local mirror up to date, with the ``proposal`` (such as ``pull/7``) that is named.

        Raises:
            RepositoryUnavailableError: the remote cannot be reached or read in time.
        """
        ...

    async def head(self) -> CommitId:
        """Return the commit at the head of the followed branch."""
        ...

    async def resolve(self, name: str) -> CommitId:
        """Return the commit that a commit id, branch, tag or fetched proposal names.

        Raises:
            UnknownRevisionError: nothing has that name.
        """
        ...

    async def commit(self, commit_id: CommitId) -> Commit:
        """Return one commit's author, time and summary."""
        ...

    async def commits(self, *, after: str, limit: int) -> list[Commit]:
        """Return commits of the followed branch, newest first, starting below ``after`` (empty: from the head)."""
        ...

    async def is_descendant(self, commit_id: CommitId, *, of: CommitId) -> bool:
        """Return whether ``of`` is an ancestor of ``commit_id`` (or is it)."""
        ...

    async def web_page(self) -> str:
        """Return where people look at the repository in a browser; empty when its name does not tell."""
        ...

    async def tree(self, commit_id: CommitId) -> PolicyTree:
        """Return the policy files of a commit.

        Raises:
            BundleRejectedError: the tree holds something that policy may not hold (links, submodules,
                hostile names, files too large or of foreign kinds).
        """
        ...


class BundleBuilder(Protocol):
    """Turns a policy tree into a signed bundle: same tree, same bytes."""

    async def build(self, tree: PolicyTree) -> Bundle:
        """Return the bundle of ``tree``, from the store when it was built before and still verifies.

        Raises:
            BundleRejectedError: the tree does not compile, its data breaks a schema, or it holds what is not its own.
        """
        ...

    async def stored(self, revision: CommitId) -> Bundle | None:
        """Return the verified bundle of ``revision`` if it was built before."""
        ...

    async def exact(self, revision: CommitId, digest: str) -> Bundle | None:
        """Return the very bundle that has ``digest``, whichever version of us built it, if it is stored and sound."""
        ...


class Signer(Protocol):
    """One Ed25519 key."""

    @property
    def key_file(self) -> Path:
        """Return the private key's file, for a child process that signs."""
        ...

    @property
    def public_pem(self) -> str:
        """Return the public key in PEM form."""
        ...

    @property
    def public_raw(self) -> bytes:
        """Return the 32 bytes of the public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature of ``message``."""
        ...

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether ``signature`` is this key's signature of ``message``."""
        ...


class EventLog(Protocol):
    """The append-only record. Whatever ``append`` acknowledged is durable."""

    async def append(self, record: DecisionRecord) -> Receipt:
        """Store one decision.

        Raises:
            LogUnavailableError: it could not be made durable (``SealedError`` when the log is sealed).
            IdempotencyConflictError: the key was used for another request.
            AisecopsError: the condition of one of its changes does not hold; then nothing of it is stored.
        """
        ...

    async def append_many(self, records: Sequence[DecisionRecord]) -> list[Receipt | AisecopsError]:
        """Store many decisions in one or few commits; results in their order."""
        ...

    async def append_event(self, event: Event) -> Receipt:
        """Store one event about the control plane itself or about a refused request."""
        ...

    async def append_change(self, record: ChangeRecord) -> Receipt:
        """Store events with the changes of state that they tell of, or neither.

        Raises:
            LogUnavailableError: they could not be made durable.
            AisecopsError: the condition of a change does not hold; the change says which error that is.
        """
        ...

    async def replayed(self, principal_id: str, key: str) -> StoredDecision | None:
        """Return the decision stored under an idempotency key, if any."""
        ...

    async def decision(self, decision_id: str) -> StoredDecision:
        """Return one decision.

        Raises:
            NotFoundError: there is none.
        """
        ...

    async def trace(self, trace_id: str) -> StoredTrace:
        """Return everything under one trace id.

        Raises:
            NotFoundError: there is nothing.
        """
        ...

    async def traces(self, narrow: TraceFilter, *, page_size: int, page_token: str) -> TracePage:
        """Return a page of traces, newest first.

        Raises:
            InvalidRequestError: the page token was not made by this log.
        """
        ...

    def events(self, *, from_index: int, follow: bool, trace_id: str) -> AsyncGenerator[StoredEvent, None]:
        """Yield events in log order from an index on; with ``follow``, go on as they are appended."""
        ...

    async def head(self) -> LogHead:
        """Return the log's size and Merkle root."""
        ...

    async def verify(self, progress: Callable[[int, int], None] | None = None) -> LogReport:
        """Recompute every leaf and the root; ``progress`` is called with (done, total) leaves."""
        ...

    @property
    def sealed(self) -> str:
        """Return why the log is sealed, or an empty string when it is writable."""
        ...

    def seal(self, why: str) -> None:
        """Take nothing any more; only a restart that finds nothing wrong takes this back."""
        ...

    async def close(self) -> None:
        """Finish what was accepted and close."""
        ...


class ProvenLog(Protocol):
    """What a log can prove of itself. Sizes may be any that the log once had."""

    async def identity(self) -> str:
        """Return 32 hexadecimal digits that no other log has."""
        ...

    async def head(self) -> LogHead:
        """Return the log's size and Merkle root."""
        ...

    async def head_at(self, size: int) -> LogHead:
        """Return the head that the log had with ``size`` leaves.

        Raises:
            InvalidRequestError: it never had so many.
        """
        ...

    async def inclusion(self, index: int, *, size: int) -> list[bytes]:
        """Return the audit path of an event in the tree of that size.

        Raises:
            InvalidRequestError: there is no such event in it.
        """
        ...

    async def consistency(self, old_size: int, *, size: int) -> list[bytes]:
        """Return the proof that the log of ``size`` extends that of ``old_size``; empty from size 0.

        Raises:
            InvalidRequestError: the log never had one of the sizes.
        """
        ...

    async def rotations(self) -> list[StoredEvent]:
        """Return the events in which its key was followed by another, oldest first."""
        ...


class CheckpointStore(Protocol):
    """The latest checkpoint that was signed, apart from the log, and what each witness has cosigned last."""

    async def latest(self) -> Note | None:
        """Return the latest one with all its signatures.

        Raises:
            IntegrityError: what is stored is no note.
        """
        ...

    async def save(self, note: Note) -> None:
        """Replace the latest one, durably."""
        ...


class Witness(Protocol):
    """Somebody elsewhere who signs a checkpoint only if it extends the last one that they signed."""

    @property
    def key(self) -> NoteKey:
        """Return the key that it signs with."""
        ...

    async def cosign(self, note: Note, *, old_size: int, proof: Sequence[bytes]) -> WitnessAnswer:
        """Return its signature, or why there is none."""
        ...

    async def introduce(self, rotations: Sequence[str]) -> None:
        """Tell it by which keys the one that it knows was followed, as notes, oldest first."""
        ...


class LogKeyStore(Protocol):
    """The private keys of a log: the first one, and one after each rotation."""

    def following(self, rotations: int) -> Signer:
        """Return the key that is to follow after so many rotations, made if it is not there."""
        ...

    def destroy(self, rotations: int) -> None:
        """Delete the key of before so many rotations."""
        ...


class WitnessStore(Protocol):
    """What a witness has signed last, of each log, and by which key a log is known to it."""

    async def key_of(self, given: NoteKey) -> NoteKey:
        """Return the key that follows, by all that was told, the one that the operator gave."""
        ...

    async def follow(self, given: NoteKey, key: NoteKey) -> None:
        """Know the log by ``key`` from now on, durably, as long as the operator gives the same one."""
        ...

    async def latest(self, origin: str) -> LogHead | None:
        """Return the last head that was signed of a log."""
        ...

    async def advance(self, origin: str, head: LogHead, *, after: int) -> bool:
        """Store ``head`` durably if the last one had ``after`` leaves (0: there was none); return whether it was so."""
        ...


class ActivationStore(Protocol):
    """What was made live last, so that a restart serves it again, whatever the policy repository says by then."""

    async def load(self) -> tuple[Activated, Activated | None] | None:
        """Return what is live and what was live before; ``None`` before the first activation.

        Raises:
            LogUnavailableError: the stored state cannot be read.
            IntegrityError: the stored state is damaged.
        """
        ...

    async def save(self, live: Activated, previous: Activated | None) -> None:
        """Replace both at once, durably.

        Raises:
            LogUnavailableError: it could not be made durable; what was stored before still holds.
        """
        ...


class RecordedTraces(Protocol):
    """Traces that agents' own telemetry recorded, and what policy said of their calls. Not evidence."""

    async def add(self, traces: Sequence[RecordedTrace]) -> int:
        """Store traces, joining them with what is there; return how many were new."""
        ...

    async def page(self, *, after: str, limit: int) -> list[RecordedTrace]:
        """Return traces in the order of their ids, starting behind ``after``."""
        ...

    async def calls(self) -> int:
        """Return how many calls all traces have."""
        ...

    async def evaluated(self, revision: str, trace_ids: Sequence[str]) -> set[tuple[str, str]]:
        """Return which calls of these traces were decided on ``revision``, as (trace id, span id)."""
        ...

    async def record(self, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations durably; a later one of the same call on the same revision replaces an earlier one."""
        ...

    async def evaluations(self, revision: str) -> list[Evaluation]:
        """Return every evaluation on ``revision``, by trace and span."""
        ...

    async def tallies(self, revision: str) -> list[Tally]:
        """Return how often which outcome came up, by agent, tool and rules."""
        ...

    async def close(self) -> None:
        """Finish and close."""
        ...
