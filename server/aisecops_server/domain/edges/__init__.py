"""What an edge knows when it decides away from its centre."""
