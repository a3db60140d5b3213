-- Keys of grants are replaced once in a while, and every start asks which one signs.
CREATE INDEX event_of_grant_keys ON event (idx) WHERE type IN ('grant_key.rotated', 'edge.grant_key_rotated');
