"""Given a price table, when models are asked, then each answer's event says what it cost, and by which price."""

import asyncio
from decimal import Decimal

from application.ask_model import Question
from application.embed_texts import TextsToEmbed
from domain.calls import CallAnswered, CallServedFromCache
from domain.pricing import Charge, Price, PriceTable
from tests.application.test_embed_texts import Embedding
from tests.support.asking import ask_model
from tests.support.given_when_then import CONTEXT, ListStore, notebook
from tests.support.scripted_provider import ScriptedProvider

# The scripted provider counts one token of each kind.
CHAT = Price(provider="scripted", model="m", input=Decimal(1), output=Decimal(2))
EMBEDDING = Price(provider="scripted", model="e", input=Decimal("0.5"))
PRICES = PriceTable([CHAT, EMBEDDING])
COST = Decimal("0.0000030000")


class Asking:
    def __init__(self, prices: PriceTable = PRICES) -> None:
        self.store = ListStore()
        self.ask = ask_model(notebook(self.store), self.store, ScriptedProvider(), prices=prices)

    def charges(self) -> list[Charge | None]:
        return [fact.charge for fact in self.store.facts(CallAnswered) if isinstance(fact, CallAnswered)]


async def test_an_answer_says_what_it_cost_and_by_which_price():
    asking = Asking()
    answer = await asking.ask(Question(prompt="?"), CONTEXT)
    assert (answer.cost, answer.saved) == (COST, None)
    assert asking.charges() == [Charge(price=CHAT, cost=COST)]


async def test_a_stream_costs_what_an_answer_in_one_piece_does():
    asking = Asking()
    answer = await asking.ask.streamed(Question(prompt="?"), CONTEXT, [].append)
    assert answer.cost == COST
    assert asking.charges() == [Charge(price=CHAT, cost=COST)]


async def test_without_a_price_the_cost_is_unknown():
    asking = Asking(PriceTable())
    answer = await asking.ask(Question(prompt="?"), CONTEXT)
    assert (answer.cost, answer.saved) == (None, None)
    assert asking.charges() == [None]


async def test_shared_and_cached_answers_cost_nothing_and_say_what_they_saved():
    asking = Asking()
    question = Question(prompt="?", temperature=0.0)
    answers = await asyncio.gather(*(asking.ask(question, CONTEXT) for _ in range(2)))
    cached = await asking.ask(Question(prompt="?", temperature=0.0, cache_seconds=60), CONTEXT)
    assert sorted((answer.cost, answer.saved) for answer in (*answers, cached) if answer.saved is not None) == [
        (Decimal(0), COST),
        (Decimal(0), COST),
    ]
    assert [fact.saved for fact in asking.store.facts(CallServedFromCache)] == [COST]
    assert asking.charges() == [Charge(price=CHAT, cost=COST)]


async def test_embeddings_are_charged_for_what_they_read():
    embedding = Embedding(prices=PRICES)
    embedded = await embedding.embed(TextsToEmbed(texts=("a", "b")), CONTEXT)
    assert (embedded.cost, embedded.saved) == (Decimal("0.0000005"), Decimal(0))
    (answered,) = embedding.store.facts(CallAnswered)
    assert answered.charge == Charge(price=EMBEDDING, cost=Decimal("0.0000005000"))


async def test_cached_vectors_say_what_their_texts_would_have_cost_again():
    embedding = Embedding(prices=PRICES)
    await embedding.embed(TextsToEmbed(texts=("a", "b", "c")), CONTEXT)
    await embedding.embed(TextsToEmbed(texts=("d", "e")), CONTEXT)
    again = await embedding.embed(TextsToEmbed(texts=("d", "a", "b", "a", "f"), metadata={"why": "again"}), CONTEXT)
    (served,) = embedding.store.facts(CallServedFromCache)
    # Two thirds of one call and half of another, each of which cost 0.0000005; equal texts are paid for once.
    assert (served.hits, served.saved) == (4, Decimal("0.0000005833"))
    assert served.metadata == {"why": "again"}
    assert (again.cost, again.saved) == (Decimal("0.0000005"), served.saved)


async def test_a_saving_is_unknown_where_a_cost_is():
    embedding = Embedding(prices=PRICES)
    await embedding.embed(TextsToEmbed(texts=("a",)), CONTEXT)
    other = Embedding(store=embedding.store, ids=embedding.book.ids)
    await other.embed(TextsToEmbed(texts=("b",)), CONTEXT)
    for texts in (("a",), ("a", "b")):
        again = await embedding.embed(TextsToEmbed(texts=texts), CONTEXT)
        assert again.cost == 0
    assert (await other.embed(TextsToEmbed(texts=("c",)), CONTEXT)).cost is None
    assert [served.saved for served in embedding.store.facts(CallServedFromCache)] == [Decimal("0.0000005000"), None]
