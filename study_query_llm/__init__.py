"""Study Query LLM: the lab notebook for research with language models.

    import study_query_llm as sq

    with sq.open() as study:
        answer = study.ask("Name three primes")
        embedded = study.embed(["one text", "another"])
        sweep = study.sweep(embedded, k=range(2, 5))

Every call is an event before and after it is made; see README.md and docs/.
"""

import study_query_llm._neighbours  # noqa: F401
from domain import clustering
from domain.errors import Conflict, NotFound, ProviderFailed, Rejected, StudyError, Unavailable
from study_query_llm.artifacts import Artifact
from study_query_llm.asynchronous import AsyncStudy, open_async
from study_query_llm.groups import Group
from study_query_llm.notebook import show_in_notebooks
from study_query_llm.results import Batch, Summaries
from study_query_llm.sweeps import Sweep
from study_query_llm.synchronous import Study, open  # noqa: A004 - `sq.open` reads well

show_in_notebooks()

__all__ = [
    "Artifact",
    "AsyncStudy",
    "Batch",
    "Conflict",
    "Group",
    "NotFound",
    "ProviderFailed",
    "Rejected",
    "Study",
    "StudyError",
    "Summaries",
    "Sweep",
    "Unavailable",
    "clustering",
    "open",
    "open_async",
]
