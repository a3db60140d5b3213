"""One real server for all tests of a process."""

from tests.postgres_servers import postgres

__all__ = ["postgres"]
