-- What people answered to an agent's requests, by the tools that these would have called.
CREATE TABLE past_answer (
    agent_id    text COLLATE "C" NOT NULL,
    tool        text COLLATE "C" NOT NULL,
    at          bigint NOT NULL,
    approval_id text COLLATE "C" NOT NULL,
    approver    text COLLATE "C" NOT NULL,
    PRIMARY KEY (agent_id, tool, at, approval_id, approver)
);
INSERT INTO past_answer (agent_id, tool, at, approval_id, approver)
SELECT a.agent_id, tool, (as_json(convert_from(v.details, 'UTF8')) #>> '{at_seconds}')::bigint, v.approval_id, v.approver
FROM vote AS v JOIN approval AS a ON a.approval_id = v.approval_id
CROSS JOIN LATERAL json_object_keys(as_json(convert_from(a.request, 'UTF8')) -> 'tool_digests') AS tool;
REVOKE ALL ON past_answer FROM PUBLIC;
GRANT SELECT ON past_answer TO aisecops_writer, aisecops_reader;
GRANT INSERT ON past_answer TO aisecops_writer;
