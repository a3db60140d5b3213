-- What traces do, what they took, and how far their plans came. `decisions` is how many are counted: fewer than a trace has where a program of before
-- added one. Rows that are missing, or count fewer, are filled from events when a control plane opens the log.
CREATE TABLE trace_figure (
    number       bigint PRIMARY KEY,
    decisions    bigint NOT NULL,
    effects      text COLLATE "C" NOT NULL,
    steps        bigint NOT NULL,
    tokens       bigint NOT NULL,
    micro_usd    bigint NOT NULL,
    budget_share bigint NOT NULL,
    gates        text COLLATE "C" NOT NULL
);
REVOKE ALL ON trace_figure FROM PUBLIC;
GRANT SELECT ON trace_figure TO aisecops_writer, aisecops_reader;
GRANT INSERT, UPDATE ON trace_figure TO aisecops_writer;

-- Keys of evidence packages and of bundles are replaced once in a while, and every start asks which one signs.
CREATE INDEX event_of_signing_keys ON event (idx) WHERE type IN ('evidence_key.rotated', 'bundle_key.rotated');

-- What is rolled out, which all replicas follow. A row is moved with the event that tells of it, one step at a time;
-- ``counted_to`` is the index behind everything in the log that its tally counts.
CREATE TABLE rollout (
    number     bigint PRIMARY KEY,
    rollout_id text COLLATE "C" NOT NULL UNIQUE,
    step       bigint NOT NULL CHECK (step >= 0),
    stage      text COLLATE "C" NOT NULL CHECK (stage IN ('SHADOW', 'CANARY', 'PROMOTED', 'ROLLED_BACK', 'ABORTED')),
    body       bytea NOT NULL,
    counted_to bigint NOT NULL CHECK (counted_to >= 0),
    tally      bytea NOT NULL
);
CREATE UNIQUE INDEX rollout_under_way ON rollout ((1)) WHERE stage IN ('SHADOW', 'CANARY');

-- What a replica counted by itself, because no event tells it, and why it takes no part, if it does not.
CREATE TABLE rollout_share (
    rollout_id text COLLATE "C" NOT NULL,
    replica    text COLLATE "C" NOT NULL,
    tally      bytea NOT NULL,
    problem    text COLLATE "C" NOT NULL,
    told_at    timestamptz NOT NULL,
    PRIMARY KEY (rollout_id, replica)
);

-- Changes that wait for more people.
CREATE TABLE proposal (subject text COLLATE "C" PRIMARY KEY, base text COLLATE "C" NOT NULL, voices text NOT NULL);

-- Every replica reads them again and again, and they are few among many.
CREATE INDEX event_of_rollouts ON event (idx)
WHERE type IN ('rollout.compared', 'rollout.promoted', 'rollout.rolled_back', 'rollout.aborted');

CREATE FUNCTION refuse_older_rollout() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN
        IF TG_OP <> 'UPDATE' OR NEW.step < OLD.step OR NEW.counted_to < OLD.counted_to OR NEW.number <> OLD.number
            OR NEW.rollout_id <> OLD.rollout_id THEN
            RAISE EXCEPTION 'a rollout only moves forward' USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END $$;
CREATE TRIGGER rollouts_move_forward BEFORE UPDATE OR DELETE ON rollout
    FOR EACH ROW EXECUTE FUNCTION refuse_older_rollout();

REVOKE ALL ON rollout, rollout_share, proposal FROM PUBLIC;
GRANT SELECT ON rollout, rollout_share, proposal TO aisecops_writer, aisecops_reader;
GRANT INSERT, UPDATE ON rollout, rollout_share, proposal TO aisecops_writer;
GRANT DELETE ON proposal TO aisecops_writer;

-- A number that few traces have is looked up: to compare those of all traces takes a second of a million events.
CREATE INDEX trace_by_decisions ON trace (decisions, number);
CREATE INDEX trace_by_length ON trace ((last_at - started_at), number);
