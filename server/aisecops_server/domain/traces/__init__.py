"""Traces as people look for them and read them: queries, summaries, outlines, graphs."""
