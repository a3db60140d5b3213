"""What comes of replays on record: verdicts of reviewers, and drift."""
