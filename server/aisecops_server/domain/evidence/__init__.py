"""Evidence packages: their files, their statement, and what they tell a person."""
