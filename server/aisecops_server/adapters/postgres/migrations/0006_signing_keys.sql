-- Keys of evidence packages and of bundles are replaced once in a while, and every start asks which one signs.
CREATE INDEX event_of_signing_keys ON event (idx) WHERE type IN ('evidence_key.rotated', 'bundle_key.rotated');
