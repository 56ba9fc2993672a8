"""Put a generation that has caught up in the place of the live one."""

from projections.advance import write
from projections.generations import BRIEFLY, Connection, Generation, drop_if_unread, generations, put_views
from projections.pages import SharedPages
from projections.read_model import ReadModel

DRAINED_PAGE = 2000


def swap(connection: Connection, pages: SharedPages, model: ReadModel, building: Generation) -> bool:
    """Drain what is left and lead the views to the new generation, in one transaction.

    Both rows are locked, so that no follower writes either meanwhile. False when another process swapped or dropped
    it first. The old tables are dropped afterwards: a query that is still reading them must not hold up the views.
    Raises psycopg.errors.LockNotAvailable, with nothing changed, while a long query reads through the views.
    """
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")
        # `live` before `building`, always, so that two processes that swap never wait for each other.
        rows = connection.execute(
            "SELECT state, generation, position FROM projections.generations "
            "WHERE name = %s AND state IN ('live', 'building') ORDER BY state DESC FOR UPDATE",
            (model.name,),
        ).fetchall()
        positions: dict[str, int] = {state: position for state, _, position in rows}
        if ("building", building.generation) not in {(state, generation) for state, generation, _ in rows}:
            return False
        _drain(connection, pages, model, building, positions["building"], positions.get("live", 0))
        retired = [each for each in generations(connection, "live") if each.name == model.name]
        connection.execute(
            "UPDATE projections.generations SET state = 'retired' WHERE name = %s AND state = 'live'", (model.name,)
        )
        connection.execute(
            "UPDATE projections.generations SET state = 'live' WHERE name = %s AND generation = %s",
            (model.name, building.generation),
        )
        connection.execute(BRIEFLY)
        put_views(connection, model, building)
    for each in retired:
        drop_if_unread(connection, each)
    return True


def _drain(
    connection: Connection, pages: SharedPages, model: ReadModel, building: Generation, position: int, until: int
) -> None:
    """Read as far as the live generation has, or readers would see time run backwards."""
    while position < until:
        events = pages.page(after=position, limit=DRAINED_PAGE, until=until)
        if not events:
            return
        write(connection, model, building, events)
        position = events[-1].position
