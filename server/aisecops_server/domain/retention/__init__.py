"""How long payloads are kept, what is erased, and what must not be."""
