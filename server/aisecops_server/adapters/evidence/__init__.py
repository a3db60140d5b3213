"""Evidence packages as files."""
