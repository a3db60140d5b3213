-- What traces do and what they took. `decisions` is how many are counted: fewer than a trace has where a program of before
-- added one. Rows that are missing, or count fewer, are filled from events when a control plane opens the log.
CREATE TABLE trace_figure (
    number       bigint PRIMARY KEY,
    decisions    bigint NOT NULL,
    effects      text COLLATE "C" NOT NULL,
    steps        bigint NOT NULL,
    tokens       bigint NOT NULL,
    micro_usd    bigint NOT NULL,
    budget_share bigint NOT NULL
);
REVOKE ALL ON trace_figure FROM PUBLIC;
GRANT SELECT ON trace_figure TO aisecops_writer, aisecops_reader;
GRANT INSERT, UPDATE ON trace_figure TO aisecops_writer;
