"""A study for code that runs in an event loop."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from application.providers import Provider
from infrastructure.settings import read_settings
from interfaces.composition import open_study
from study_query_llm.asynchronous.asking import Asking
from study_query_llm.asynchronous.collecting import Collecting
from study_query_llm.asynchronous.embedding import Embedding
from study_query_llm.asynchronous.exporting import Exporting
from study_query_llm.asynchronous.letting_in import LettingIn
from study_query_llm.asynchronous.looking import Looking
from study_query_llm.asynchronous.migrating import Migrating
from study_query_llm.asynchronous.sweeping import Sweeping


class AsyncStudy(Asking, Embedding, Collecting, Sweeping, Looking, Exporting, Migrating, LettingIn):
    """An open study, for code that runs in an event loop."""


@asynccontextmanager
async def open_async(
    *,
    database_url: str | None = None,
    home: str | Path | None = None,
    providers: Mapping[str, Provider] | None = None,
    actor: str | None = None,
) -> AsyncIterator[AsyncStudy]:
    """Open a study in the caller's event loop; settings come from the environment and .env where not given."""
    settings = read_settings(database_url=database_url, study_home=None if home is None else Path(home))
    async with open_study(settings, actor=actor, providers=providers) as wired:
        yield AsyncStudy(wired)
