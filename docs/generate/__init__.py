"""Writes docs/reference from the code it describes, so that it cannot say anything else."""
