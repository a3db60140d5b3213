"""Evidence packages: honest ones, and forged ones."""
