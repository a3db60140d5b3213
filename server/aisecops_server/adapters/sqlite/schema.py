"""The audit database's tables and how they came to be: one migration per version, applied in order, never edited.

Truth and index are kept apart. ``event``, with ``payload`` and ``document`` to which it commits, is the record;
``log_head`` and ``subtree`` are its Merkle tree; everything else can be derived from the record and is there to find
things quickly.

Traces are numbered from 0 in the order in which they first appear. ``trace_posting`` says, for every block of
consecutive traces, which of them have a term (an agent, a tool, a rule, an outcome …) as one bit each, so that any
combination of filters is an AND of a few small bit strings.
"""

from __future__ import annotations

# "AISE": tells our database from any other SQLite file.
APPLICATION_ID = 0x41495345

# Leaves under one row of ``subtree``: the root of that complete, aligned part of the tree.
SUBTREE_HEIGHT = 8
SUBTREE_LEAVES = 1 << SUBTREE_HEIGHT

# Traces under one row of ``trace_posting``.
BLOCK_TRACES = 1024

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE migration (version INTEGER PRIMARY KEY) STRICT;

    CREATE TABLE event (
        idx         INTEGER PRIMARY KEY,
        event_id    TEXT NOT NULL UNIQUE,
        trace_id    TEXT NOT NULL,
        plan_id     TEXT NOT NULL,
        decision_id TEXT NOT NULL,
        stage       TEXT NOT NULL,
        type        TEXT NOT NULL,
        occurred_at INTEGER NOT NULL,
        leaf_hash   BLOB NOT NULL,
        body        BLOB NOT NULL
    ) STRICT;
    CREATE INDEX event_by_trace ON event (trace_id) WHERE trace_id <> '';

    CREATE TABLE document (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT;

    CREATE TABLE decision (
        outcome_idx     INTEGER PRIMARY KEY,
        decision_id     TEXT NOT NULL UNIQUE,
        trace           INTEGER NOT NULL,
        document_digest BLOB NOT NULL,
        request_digest  TEXT
    ) STRICT;
    CREATE INDEX decision_by_trace ON decision (trace);

    CREATE TABLE idempotency (
        principal_id   TEXT NOT NULL,
        key            TEXT NOT NULL,
        request_digest TEXT NOT NULL,
        outcome_idx    INTEGER NOT NULL,
        PRIMARY KEY (principal_id, key)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE trace (
        number          INTEGER PRIMARY KEY,
        trace_id        TEXT NOT NULL UNIQUE,
        agent_id        TEXT NOT NULL,
        outcome         TEXT NOT NULL,
        mode            TEXT NOT NULL,
        intent          TEXT NOT NULL,
        tools           TEXT NOT NULL,
        rules           TEXT NOT NULL,
        lowest_trust    TEXT NOT NULL,
        bundle_revision TEXT NOT NULL,
        decisions       INTEGER NOT NULL,
        started_at      INTEGER NOT NULL,
        last_at         INTEGER NOT NULL,
        agents          TEXT NOT NULL
    ) STRICT;

    CREATE TABLE trace_block (number INTEGER PRIMARY KEY, earliest INTEGER NOT NULL, latest INTEGER NOT NULL) STRICT;
    CREATE TABLE term (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, UNIQUE (kind, value)) STRICT;
    CREATE TABLE trace_posting (
        block INTEGER NOT NULL,
        term  INTEGER NOT NULL,
        bits  BLOB NOT NULL,
        PRIMARY KEY (block, term)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE subtree (number INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT;
    CREATE TABLE log_head (
        id        INTEGER PRIMARY KEY CHECK (id = 1),
        log_id    BLOB NOT NULL,
        size      INTEGER NOT NULL,
        peaks     BLOB NOT NULL
    ) STRICT;
    INSERT INTO log_head VALUES (1, randomblob(16), 0, x'');
    """,
    # Approvals: requests, votes, and the messages that tell people of a request.
    """
    CREATE TABLE approval (
        approval_id      TEXT NOT NULL PRIMARY KEY,
        agent_id         TEXT NOT NULL,
        plan_hash        TEXT NOT NULL,
        statement_digest TEXT NOT NULL,
        statement        BLOB NOT NULL,
        request          BLOB NOT NULL,
        state            TEXT NOT NULL
            CHECK (state IN ('REQUESTED', 'GRANTED', 'REJECTED', 'WITHDRAWN', 'EXPIRED', 'CONSUMED')),
        version          INTEGER NOT NULL,
        requested_at     INTEGER NOT NULL,
        expires_at       INTEGER NOT NULL,
        changed_at       INTEGER NOT NULL,
        closed_by        TEXT NOT NULL DEFAULT '',
        closed_note      TEXT NOT NULL DEFAULT '',
        consumed_by      TEXT NOT NULL DEFAULT ''
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX approval_open ON approval (agent_id, plan_hash) WHERE state IN ('REQUESTED', 'GRANTED');
    CREATE INDEX approval_by_expiry ON approval (expires_at) WHERE state IN ('REQUESTED', 'GRANTED');
    CREATE INDEX approval_by_agent ON approval (agent_id, approval_id);

    CREATE TABLE vote (
        approval_id TEXT NOT NULL,
        approver    TEXT NOT NULL,
        number      INTEGER NOT NULL,
        token_id    TEXT NOT NULL UNIQUE,
        details     BLOB NOT NULL,
        PRIMARY KEY (approval_id, approver)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE notice (
        notice_id   TEXT NOT NULL PRIMARY KEY,
        approval_id TEXT NOT NULL,
        trace_id    TEXT NOT NULL,
        plan_id     TEXT NOT NULL,
        decision_id TEXT NOT NULL,
        endpoint    TEXT NOT NULL,
        body        BLOB NOT NULL,
        state       TEXT NOT NULL CHECK (state IN ('PENDING', 'DELIVERED', 'DEAD')),
        created_at  INTEGER NOT NULL,
        attempts    INTEGER NOT NULL DEFAULT 0,
        problem     TEXT NOT NULL DEFAULT '',
        settled_at  INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX notice_pending ON notice (notice_id) WHERE state = 'PENDING';
    CREATE INDEX notice_dead ON notice (notice_id) WHERE state = 'DEAD';
    """,
    # Grants, and the index by which incidents are listed.
    """
    CREATE TABLE execution_grant (
        grant_id    TEXT PRIMARY KEY,
        trace_id    TEXT NOT NULL,
        step_id     TEXT NOT NULL,
        agent_id    TEXT NOT NULL,
        claims      BLOB NOT NULL,
        overdue_at  INTEGER NOT NULL,
        state       TEXT NOT NULL
            CHECK (state IN ('issued', 'redeemed', 'executed', 'failed', 'expired_unknown')),
        revoked     INTEGER NOT NULL CHECK (revoked IN (0, 1)),
        redemption  TEXT NOT NULL,
        report      TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX execution_grant_by_step ON execution_grant (trace_id, step_id);
    CREATE INDEX execution_grant_open ON execution_grant (overdue_at) WHERE state IN ('issued', 'redeemed');

    -- Incidents are few among many events, and there is no other list of them.
    CREATE INDEX event_incident ON event (idx) WHERE type >= 'incident.' AND type < 'incident/';
    """,
    # Budgets: counters, what decisions reserved, and what people corrected.
    """
    -- ``latest`` is when the newest period began in which the budget was used; ``owner`` is ``subject:id``.
    CREATE TABLE budget (
        number       INTEGER PRIMARY KEY,
        owner        TEXT NOT NULL,
        metric       TEXT NOT NULL,
        window       TEXT NOT NULL,
        limit_amount INTEGER NOT NULL CHECK (limit_amount >= 0),
        frozen       INTEGER NOT NULL CHECK (frozen IN (0, 1)),
        latest       INTEGER NOT NULL,
        UNIQUE (owner, metric, window)
    ) STRICT;

    CREATE TABLE budget_period (
        budget     INTEGER NOT NULL,
        started_at INTEGER NOT NULL,
        used       INTEGER NOT NULL CHECK (used >= 0),
        reserved   INTEGER NOT NULL CHECK (reserved >= 0),
        overrun    INTEGER NOT NULL CHECK (overrun BETWEEN 0 AND used),
        PRIMARY KEY (budget, started_at)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE reservation (
        decision_id TEXT PRIMARY KEY,
        state       TEXT NOT NULL CHECK (state IN ('RESERVED', 'SETTLED', 'VOID', 'EXPIRED')),
        expires_at  INTEGER NOT NULL,
        body        BLOB NOT NULL
    ) STRICT;
    CREATE INDEX reservation_open ON reservation (expires_at) WHERE state = 'RESERVED';

    CREATE TABLE budget_adjustment (request_id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;

    -- What people ask about a budget is rare among many events.
    CREATE INDEX event_of_budget ON event (idx) WHERE type IN ('budget.adjusted', 'budget.overrun');
    """,
    # What agents asked, counted from the decisions that are there.
    """
    CREATE TABLE agent_activity (
        agent_id TEXT PRIMARY KEY,
        first_at INTEGER NOT NULL,
        last_at  INTEGER NOT NULL,
        allowed  INTEGER NOT NULL,
        denied   INTEGER NOT NULL,
        held     INTEGER NOT NULL,
        tried    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO agent_activity
    SELECT agent, min(at), max(at),
        sum(mode = 'ENFORCE' AND outcome = 'ALLOW'), sum(mode = 'ENFORCE' AND outcome = 'DENY'),
        sum(mode = 'ENFORCE' AND outcome = 'REQUIRE_APPROVAL'), sum(mode <> 'ENFORCE')
    FROM (
        SELECT body ->> '$.details.principal.id' AS agent, at, body ->> '$.details.mode' AS mode,
            body ->> '$.details.outcome' AS outcome
        FROM (
            SELECT CAST(e.body AS TEXT) AS body, e.occurred_at AS at
            FROM decision AS d JOIN event AS e ON e.idx = d.outcome_idx
        )
        WHERE EXISTS (SELECT 1 FROM json_each(body, '$.details.principal.roles') WHERE value = 'agent')
        AND (mode = 'ENFORCE' OR json_array_length(body, '$.details.principal.roles') = 1)
    )
    GROUP BY agent;
    """,
    # What may be erased of events; the body of each commits to it.
    """
    CREATE TABLE payload (idx INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
    """,
    # Edges: how far each is reconciled, and which bundle they are to have.
    """
    CREATE TABLE edge (
        edge_id       TEXT PRIMARY KEY,
        log_key       TEXT NOT NULL,
        grant_keys    BLOB NOT NULL,
        enrolled_at   INTEGER NOT NULL,
        reconciled_at INTEGER NOT NULL,
        size          INTEGER NOT NULL,
        peaks         BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE edge_release (
        id       INTEGER PRIMARY KEY CHECK (id = 1),
        counter  INTEGER NOT NULL,
        revision TEXT NOT NULL,
        digest   TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_of_edges ON event (idx) WHERE type IN ('bundle.released', 'edge.enrolled', 'edge.recorded');
    """,
    # What was erased, what must not be, and the few events that tell of both.
    """
    CREATE TABLE erasure (trace_id TEXT PRIMARY KEY, through INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE hold (hold_id TEXT PRIMARY KEY, body BLOB NOT NULL, released INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE hold_subject (
        held_by TEXT NOT NULL,
        subject TEXT NOT NULL,
        hold_id TEXT NOT NULL,
        PRIMARY KEY (held_by, subject, hold_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX event_of_keeping ON event (idx)
    WHERE type IN ('payload.erased', 'hold.added', 'hold.release_asked', 'hold.released', 'log.key_rotated');

    -- With a decision goes its retry key, by which what was asked could be guessed.
    CREATE INDEX idempotency_by_decision ON idempotency (outcome_idx);
    """,
    # What reviewers say about replays is rare among many events.
    """
    CREATE INDEX event_of_reviews ON event (idx) WHERE type = 'replay.judged';
    """,
    # What people answered to an agent's requests, by the tools that these would have called.
    """
    CREATE TABLE past_answer (
        agent_id    TEXT NOT NULL,
        tool        TEXT NOT NULL,
        at          INTEGER NOT NULL,
        approval_id TEXT NOT NULL,
        approver    TEXT NOT NULL,
        PRIMARY KEY (agent_id, tool, at, approval_id, approver)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO past_answer (agent_id, tool, at, approval_id, approver)
    SELECT a.agent_id, tool.key, CAST(v.details AS TEXT) ->> '$.at_seconds', v.approval_id, v.approver
    FROM vote AS v JOIN approval AS a ON a.approval_id = v.approval_id
    JOIN json_each(CAST(a.request AS TEXT), '$.tool_digests') AS tool;
    """,
    # Keys of grants are replaced once in a while, and every start asks which one signs.
    """
    CREATE INDEX event_of_grant_keys ON event (idx) WHERE type IN ('grant_key.rotated', 'edge.grant_key_rotated');
    """,
    # What traces do and what they took, in rows so narrow that all of them are soon compared. ``decisions`` is how many
    # are counted; the rows of traces that are there already are filled from their events when the log is opened.
    """
    CREATE TABLE trace_figure (
        number       INTEGER PRIMARY KEY,
        decisions    INTEGER NOT NULL,
        effects      TEXT NOT NULL,
        steps        INTEGER NOT NULL,
        tokens       INTEGER NOT NULL,
        micro_usd    INTEGER NOT NULL,
        budget_share INTEGER NOT NULL
    ) STRICT;
    """,
    # Keys of evidence packages and of bundles are replaced once in a while, and every start asks which one signs.
    """
    CREATE INDEX event_of_signing_keys ON event (idx) WHERE type IN ('evidence_key.rotated', 'bundle_key.rotated');
    """,
    # A number that few traces have is looked up, not compared trace by trace.
    """
    CREATE INDEX trace_by_decisions ON trace (decisions);
    CREATE INDEX trace_by_length ON trace (last_at - started_at);
    """,
    # How far the plans of traces came. No row has it, so all of them are filled anew when the log is opened.
    """
    DELETE FROM trace_figure;
    ALTER TABLE trace_figure ADD COLUMN gates TEXT NOT NULL DEFAULT '';
    """,
)
