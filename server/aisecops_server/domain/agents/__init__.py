"""What is known of agents: from first sightings to how far adoption has come."""
