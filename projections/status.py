"""Where every read model stands, and how far it is behind the log."""

from msgspec import Struct
from psycopg.rows import class_row

from projections.generations import State
from projections.replay import Log, work


class ReadModelStatus(Struct, frozen=True, kw_only=True):
    """Where a generation of a read model stands.

    lag_events: how many positions it is behind; some of them may hold no event
    lag_seconds: the age of the first event it has not read
    """

    name: str
    generation: int
    state: State
    position: int
    lag_events: int
    lag_seconds: float
    failed_position: int | None
    failed_reason: str | None


STATUS = """
    SELECT g.name, g.generation, g.state, g.position, greatest(0, last.position - g.position) AS lag_events,
        coalesce(greatest(0, extract(epoch FROM clock_timestamp() - unread.recorded_at)), 0)::float8 AS lag_seconds,
        g.failed_position, g.failed_reason
    FROM projections.generations g
    CROSS JOIN (SELECT coalesce(max(e.notification_id), 0) AS position FROM events.events e) AS last
    LEFT JOIN LATERAL (
        SELECT e.recorded_at FROM events.events e
        WHERE e.notification_id > g.position ORDER BY e.notification_id LIMIT 1
    ) AS unread ON true
    WHERE g.state <> 'retired'
    ORDER BY g.name, g.generation
"""


def status(log: Log) -> list[ReadModelStatus]:
    """Every generation that is in use or being made."""
    with work(log) as connection, connection.cursor(row_factory=class_row(ReadModelStatus)) as cursor:
        return cursor.execute(STATUS).fetchall()
