"""What holds of each requirement, and how far adoption is."""
