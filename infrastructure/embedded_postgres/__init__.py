"""A Postgres of the study's own, started when it is needed and stopped with its last user."""

from infrastructure.embedded_postgres.server import EmbeddedPostgres, Status
from infrastructure.embedded_postgres.store import APPLICATION, Running

__all__ = ["APPLICATION", "EmbeddedPostgres", "Running", "Status"]
