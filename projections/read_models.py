"""All read models."""

from projections.catalogue import CATALOGUE
from projections.conversations import CONVERSATIONS
from projections.embedding_cache import EMBEDDING_CACHE
from projections.group_links import GROUP_LINKS
from projections.raw_calls import RAW_CALLS
from projections.read_model import ReadModel
from projections.shared_calls import SHARED_CALLS
from projections.sweeps import SWEEP_RUNS

READ_MODELS: tuple[ReadModel, ...] = (
    RAW_CALLS,
    SHARED_CALLS,
    GROUP_LINKS,
    EMBEDDING_CACHE,
    SWEEP_RUNS,
    CATALOGUE,
    CONVERSATIONS,
)
