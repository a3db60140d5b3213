"""The AISecOps control plane: decides whether an agent's plan may run, and records why."""
