"""What is reserved, charged, corrected and given back."""
