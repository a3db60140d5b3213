"""One real server for all tests of a process."""

from tests.scenes.servers.postgres_servers import postgres

__all__ = ["postgres"]
