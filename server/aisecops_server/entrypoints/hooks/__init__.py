"""What a Git host may call: that something was pushed."""
