"""One real database server for all tests of a process that ask for one."""

from tests.postgres_servers import postgres

__all__ = ["postgres"]
