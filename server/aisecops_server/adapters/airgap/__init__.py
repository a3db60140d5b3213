"""What is carried to where there is no network."""
