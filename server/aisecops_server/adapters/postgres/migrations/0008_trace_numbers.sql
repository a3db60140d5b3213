-- A number that few traces have is looked up: to compare those of all traces takes a second of a million events.
CREATE INDEX trace_by_decisions ON trace (decisions, number);
CREATE INDEX trace_by_length ON trace ((last_at - started_at), number);
