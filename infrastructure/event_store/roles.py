"""Who may do what in the store's database: its owner, the application, and readers.

The owner's migrations make the log. The application appends to it and owns the read models, which it makes and drops as
it needs: for that alone it may create schemas. Readers see the log and the views of schema study.
"""

from typing import Any

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.errors import Rejected

Row = tuple[Any, ...]

APPLICATION = (
    "GRANT USAGE ON SCHEMA events TO {role}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA events TO {role}",
    "GRANT INSERT ON events.events, events.payloads TO {role}",
    "GRANT INSERT, UPDATE, DELETE ON events.claims, events.process_looks TO {role}",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA events TO {role}",
)
READER_OF_LOG = (
    "GRANT USAGE ON SCHEMA events TO {role}",
    "GRANT SELECT ON events.events, events.payloads TO {role}",
)
READER_OF_VIEWS = (
    "GRANT USAGE ON SCHEMA study TO {role}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA study TO {role}",
    # A new version may replace a view.
    "ALTER DEFAULT PRIVILEGES FOR ROLE {maker} IN SCHEMA study GRANT SELECT ON TABLES TO {role}",
)

GRANTED = """
    SELECT r.rolname, bool_or(a.privilege_type = 'INSERT')
    FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS a JOIN pg_roles r ON r.oid = a.grantee
    WHERE c.oid = 'events.events'::regclass AND a.grantee <> c.relowner GROUP BY r.rolname ORDER BY r.rolname
"""
# The read models' schemas and what lies in them, if they belong to a role whose rights the application lacks.
OF_ANOTHER_ROLE = """
    WITH home AS (
        SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'projections'
            AND NOT EXISTS (
                SELECT FROM pg_roles r
                WHERE r.rolname = %(role)s AND NOT r.rolsuper AND pg_has_role(r.oid, n.nspowner, 'USAGE')
            )
    ), schemas AS (
        SELECT n.oid, n.nspname, n.nspowner FROM pg_namespace n JOIN home USING (nspowner)
        WHERE n.nspname ~ '^(projections|study|.+_g[0-9]+)$'
    )
    SELECT 'SCHEMA', nspname, NULL FROM schemas
    UNION ALL
    SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, s.nspname, c.relname
    FROM pg_class c JOIN schemas s ON s.oid = c.relnamespace AND s.nspowner = c.relowner WHERE c.relkind IN ('r', 'v')
    ORDER BY 3 NULLS FIRST, 2
"""


def database_grant(role: str, database: str) -> str:
    """What the application may do in a database; CREATE is what lets it make its read models' schemas."""
    return _filled("GRANT CONNECT, CREATE ON DATABASE {database} TO {role}", role=role, database=database)


def application_grants(connection: Connection[Row], role: str) -> list[str]:
    """What the owner runs so that a role can do all that the product does. The store must have been migrated.

    Read models that another role made are handed over, since only their owner can replace them. Raises Rejected for
    the store's owner.
    """
    _refuse_owner(connection, role)
    handed_over = [
        _filled(f"ALTER {kind} {{name}} OWNER TO {{role}}", role=role, name=[schema, *([name] if name else [])])
        for kind, schema, name in connection.execute(OF_ANOTHER_ROLE, {"role": role}).fetchall()
    ]
    grants = [_filled(statement, role=role) for statement in APPLICATION]
    return [database_grant(role, _database(connection)), *grants, *handed_over]


def reader_grants(connection: Connection[Row], role: str) -> list[str]:
    """What is run so that a role can read the log and the views, and change nothing.

    Raises Rejected for the store's owner, and while there are no views yet.
    """
    _refuse_owner(connection, role)
    maker = connection.execute("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'study'").fetchone()
    if maker is None:
        raise Rejected(
            "There are no views to read yet: open the store once as the application, say with "
            "`study projections status`, then run this again"
        )
    return [
        _filled("GRANT CONNECT ON DATABASE {database} TO {role}", role=role, database=_database(connection)),
        *(_filled(statement, role=role) for statement in READER_OF_LOG),
        *(_filled(statement, role=role, maker=maker[0]) for statement in READER_OF_VIEWS),
    ]


def role_exists(connection: Connection[Row], role: str) -> bool:
    """Whether the server knows a role."""
    return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is not None


def grant_again(connection: Connection[Row]) -> None:
    """Give those who could use the log before a migration the same use of what it added."""
    for role, appends in connection.execute(GRANTED).fetchall():
        for statement in APPLICATION if appends else READER_OF_LOG:
            connection.execute(_filled(statement, role=role).encode())


def _refuse_owner(connection: Connection[Row], role: str) -> None:
    owner = connection.execute(
        "SELECT FROM pg_namespace WHERE nspname = 'events' AND pg_get_userbyid(nspowner) = %s", (role,)
    ).fetchone()
    if owner is not None:
        raise Rejected(f"{role} owns the log and needs no rights to it; name another role", fields=("role",))


def _database(connection: Connection[Row]) -> str:
    row = connection.execute("SELECT current_database()").fetchone()
    return str(row[0]) if row else ""


def _filled(statement: str, **names: str | list[str]) -> str:
    """A statement with names put in, quoted."""
    quoted = {each: Identifier(*([name] if isinstance(name, str) else name)) for each, name in names.items()}
    return SQL(statement).format(**quoted).as_string()
