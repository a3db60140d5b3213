"""The nouns of the product: pure, frozen, without clock, I/O or wire formats."""
