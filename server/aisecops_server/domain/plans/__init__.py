"""What agents propose, where its words came from, and how drafts become plans."""
