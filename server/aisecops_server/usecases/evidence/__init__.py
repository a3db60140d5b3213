"""Handing over what is on record: as a story, as a package, and to other systems."""
