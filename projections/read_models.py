"""All read models: those that every store has, and those that need something of its server."""

from projections.analytics import ANALYTICS
from projections.catalogue import CATALOGUE
from projections.conversations import CONVERSATIONS
from projections.embedding_cache import EMBEDDING_CACHE
from projections.generations import Connection
from projections.group_links import GROUP_LINKS
from projections.near_vectors import NEAR_VECTORS, pgvector_version, serves
from projections.raw_calls import RAW_CALLS
from projections.read_model import ReadModel
from projections.search import SEARCH
from projections.search_substrings import SEARCH_SUBSTRINGS, has_pg_trgm
from projections.shared_calls import SHARED_CALLS
from projections.sweeps import SWEEP_RUNS
from projections.tokens import TOKENS

READ_MODELS: tuple[ReadModel, ...] = (
    RAW_CALLS,
    SHARED_CALLS,
    GROUP_LINKS,
    EMBEDDING_CACHE,
    SWEEP_RUNS,
    CATALOGUE,
    CONVERSATIONS,
    TOKENS,
    SEARCH,
    ANALYTICS,
)
# It takes longer than all others together, and has a follower of its own, so that those don't wait for it.
FOLLOWED_APART = (SEARCH,)


def optional_read_models(connection: Connection) -> tuple[ReadModel, ...]:
    """Those that this server can hold. Nobody waits for them: queries that use one do without it as well."""
    return (NEAR_VECTORS,) if serves(pgvector_version(connection)) else ()


def optional_apart(connection: Connection) -> tuple[ReadModel, ...]:
    """Those that this server can hold, and that are followed apart: what they answer, nothing else does."""
    return (SEARCH_SUBSTRINGS,) if has_pg_trgm(connection) else ()
