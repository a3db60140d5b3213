"""Backups as folders."""
