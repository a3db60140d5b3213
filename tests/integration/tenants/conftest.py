"""One real database server for all tests of a process that ask for one."""

from tests.scenes.servers.postgres_servers import postgres

__all__ = ["postgres"]
