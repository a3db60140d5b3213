"""What an edge does away from its centre, and the centre for its edges."""
