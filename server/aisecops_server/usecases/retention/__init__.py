"""Erasing what was written, and holding what must stay."""
