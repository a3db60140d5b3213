"""What the engine said, what it means, and what it takes from budgets."""
