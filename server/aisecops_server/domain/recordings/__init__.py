"""What agents did, as their own telemetry tells it."""
