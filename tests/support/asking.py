"""The use case that asks, wired over a list store as the composition wires it over the real one."""

import random
from contextlib import nullcontext

from application.ask_batch import AskBatch
from application.ask_model import AskModel
from application.call_provider import AttemptPolicy, CallProvider, Places
from application.group_calls import GroupCalls
from application.notebook import Context, Notebook
from application.reuse_answers import ReuseAnswers
from application.share_calls import ShareCalls
from domain.pricing import NO_PRICES, PriceTable
from tests.support.fours_of_letters import FoursOfLetters
from tests.support.given_when_then import ListStore
from tests.support.scripted_provider import Directory, ScriptedProvider


def ask_model(
    book: Notebook,
    store: ListStore,
    provider: ScriptedProvider,
    *,
    attempts: int = 3,
    places: Places = lambda _provider: nullcontext(),
    prices: PriceTable = NO_PRICES,
    share: ShareCalls | None = None,
) -> AskModel:
    """Asks this provider."""
    return AskModel(
        share or ShareCalls(book, CallProvider(book, chance=random.Random(0), places=places, prices=prices)),
        ReuseAnswers(book, store),
        Directory(provider),
        GroupCalls(book),
        lambda: AttemptPolicy(attempts=attempts),
        FoursOfLetters(),
    )


async def deployed(_provider: str | None, _model: str | None, _context: Context) -> None:
    """No deployment is looked at first."""


def ask_batch(book: Notebook, store: ListStore, ask: AskModel) -> AskBatch:
    """Asks batches through it."""
    return AskBatch(book, ask, GroupCalls(book), store)
