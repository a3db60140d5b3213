"""The audit log as a whole: records, the Merkle tree, checkpoints, keys, and copies of it."""
