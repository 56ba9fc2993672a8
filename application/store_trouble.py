"""What a store's own trouble is called: a cause and what to do about it, by Postgres's SQLSTATE.

It knows no driver, only the standard names of its errors (PEP 249), so that who writes the log and who keeps the read
models tell of the same trouble in the same words.
"""

import re
from typing import NamedTuple

from domain.errors import Unavailable


class Trouble(NamedTuple):
    """What is wrong with the store; `passes` when it may be over within seconds, so that trying again makes sense."""

    cause: str
    remedy: str
    passes: bool = False


AWAY = Trouble(
    "the server can't be reached", "check DATABASE_URL, if it is set, and that Postgres runs there", passes=True
)
REFUSED = Trouble(
    "the server refused the role or its password", "check both, in DATABASE_URL and in the server's pg_hba.conf"
)
NO_DATABASE = Trouble("there is no such database", "create it, or mend the name in DATABASE_URL")
NOT_ALLOWED = Trouble(
    "the role lacks a right", "as the store's owner, run the SQL that `study db grant` prints for this role"
)
READ_ONLY = Trouble(
    "the server takes no writes",
    "give the address of the primary, or switch default_transaction_read_only off; "
    "among several hosts, target_session_attrs=read-write in DATABASE_URL finds the primary",
)
DISK_FULL = Trouble("the server's disk is full", "make room there; whatever was acknowledged is safe")
NO_SLOT = Trouble(
    "the server has no connection left", "end some of the others, or raise its max_connections", passes=True
)
BUSY = Trouble("all connections of this process are in use", "try again later", passes=True)
SHORT = Trouble("the server is short of memory or another resource", "see the server's log", passes=True)
STARTING = Trouble("the server is starting up or shutting down", "wait a moment and try again", passes=True)
ENDED = Trouble("the server ended the connection", "try again; if it stays so, see the server's log", passes=True)
TOO_SLOW = Trouble("it took longer than statement_timeout allows", "try again, or raise that setting", passes=True)
LOCKED = Trouble("another session holds the lock for too long", "end that session, or try again later", passes=True)
IN_THE_WAY = Trouble("another transaction got in the way", "try again", passes=True)
BROKEN_FILES = Trouble("the server can't read or write its own files", "see the server's log")
TLS = Trouble(
    "no trusted TLS connection came about",
    "check sslmode and sslrootcert in DATABASE_URL, and the server's certificate",
)
UNKNOWN = Trouble(
    "something in it is missing or broken", "`study doctor` looks at everything, and the server's log may say more"
)

# The longest beginning of a SQLSTATE that is named here counts.
BY_SQLSTATE = {
    "08": AWAY,
    "25006": READ_ONLY,
    "25P03": ENDED,
    "28": REFUSED,
    "3D": NO_DATABASE,
    "40": IN_THE_WAY,
    "42501": NOT_ALLOWED,
    "53": SHORT,
    "53100": DISK_FULL,
    "53300": NO_SLOT,
    "55P03": LOCKED,
    "57": ENDED,
    "57014": TOO_SLOW,
    "57P03": STARTING,
    "57P04": NO_DATABASE,
    "58": BROKEN_FILES,
}
# libpq tells of a refused connection in words alone. A server that speaks another language is quoted all the same.
BY_WORDS = (
    (r"couldn't get a connection", BUSY),
    (r"authentication failed|no password supplied|no pg_hba\.conf entry", REFUSED),
    (r'role ".*" (does not exist|is not permitted)', REFUSED),
    (r"permission denied for database", NOT_ALLOWED),
    (r'database ".*" does not exist', NO_DATABASE),
    (r"starting up|shutting down|not yet accepting connections|in recovery mode", STARTING),
    (r"too many (clients|connections)|connection slots", NO_SLOT),
    (r"session is read-only|hot standby mode", READ_ONLY),
    (r"certificate|does not support SSL", TLS),
)
INPUT_AT_FAULT = ("22", "23", "54")  # data, constraints, and sizes beyond what Postgres can hold


def trouble_of(error: BaseException) -> Trouble | None:
    """The store's trouble behind a driver's error; None when the fault may lie with what was asked."""
    sqlstate = _sqlstate(error)
    if sqlstate is not None:
        beginnings = (sqlstate[:length] for length in range(len(sqlstate), 1, -1))
        return next((BY_SQLSTATE[each] for each in beginnings if each in BY_SQLSTATE), None)
    if not any(kind.__name__ in ("OperationalError", "InterfaceError") for kind in type(error).__mro__):
        return None
    said = _said(error)
    return next((trouble for words, trouble in BY_WORDS if re.search(words, said)), AWAY)


def is_inputs_fault(error: BaseException) -> bool:
    """Whether the store is well, and it is what it was given that it can't take."""
    sqlstate = _sqlstate(error)
    return trouble_of(error) is None if sqlstate is None else sqlstate.startswith(INPUT_AT_FAULT)


def unavailable(what: str, error: BaseException) -> Unavailable:
    """`what` can't be done ("The log can't be read"), why, in the server's words too, and what to do about it."""
    trouble = trouble_of(error) or UNKNOWN
    return Unavailable(f"{what}: {trouble.cause} ({_said(error)}); {trouble.remedy}")


def _sqlstate(error: BaseException | None) -> str | None:
    """The SQLSTATE of an error, or of the one that it wraps."""
    while error is not None:
        sqlstate: str | None = getattr(error, "sqlstate", None)
        if sqlstate is not None:
            return sqlstate
        error = error.__cause__
    return None


def _said(error: BaseException) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]
