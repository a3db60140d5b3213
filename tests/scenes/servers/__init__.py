"""What a control plane meets: databases, identity providers, receivers, and their certificates."""
