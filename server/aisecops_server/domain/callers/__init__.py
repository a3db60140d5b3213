"""Who asks, as a credential proves it, and who was turned away."""
