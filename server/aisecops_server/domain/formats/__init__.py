"""How bytes and texts are written and strictly read: canonical JSON, envelopes, signed notes, identifiers."""
