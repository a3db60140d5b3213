"""The UI: pages that read the record through the same calls as everybody else."""
