"""What a call costs: list prices a million tokens, and exact decimal arithmetic; unknown is None, never zero."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Literal, NamedTuple

from msgspec import Struct

MILLION = 1_000_000
PLACES = Decimal("0.0000000001")
TOO_MUCH = Decimal(10) ** 10  # USD: what a count amounts to that no provider means
EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
ANY_MODEL = "*"
DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")


class Price(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An entry of a price table, in USD a million tokens. An answer's event holds the one that was used.

    endpoint: where it holds; without one, at every endpoint of the provider
    model: `*` stands for all that have no entry
    valid_from, valid_until: days in UTC, the last one excluded
    """

    provider: str
    model: str
    input: Decimal
    endpoint: str | None = None
    cached_input: Decimal | None = None
    output: Decimal | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    source: str = ""

    def holds(self, endpoint: str, day: date) -> bool:
        """Whether it holds at an endpoint on a day."""
        return (
            (self.endpoint is None or self.endpoint.rstrip("/") == endpoint.rstrip("/"))
            and (self.valid_from is None or self.valid_from <= day)
            and (self.valid_until is None or day < self.valid_until)
        )


class Charge(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a call costs in USD, by a price. cost: None where the tokens that it takes are not known."""

    price: Price
    cost: Decimal | None = None


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """What there is to be charged: token counts as the provider reported them."""

    operation: Literal["chat", "embeddings"]
    prompt: int | None
    completion: int | None
    cached: int | None


class PriceTable:
    """Prices by provider and model. Of the tables given, an earlier one counts before a later one."""

    def __init__(self, *tables: Iterable[Price]) -> None:
        self._tables: list[dict[tuple[str, str], list[Price]]] = []
        for table in tables:
            entries: dict[tuple[str, str], list[Price]] = {}
            for price in table:
                entries.setdefault((price.provider, price.model), []).append(price)
            self._tables.append(entries)

    def find(self, *, provider: str, endpoint: str, models: Sequence[str | None], at: datetime) -> Price | None:
        """The price of the first of these names that has one: as it is, or without the date at its end."""
        day = at.astimezone(UTC).date()
        names = [name for model in models if model for name in (model, DATED.sub("", model))]
        for entries in self._tables:
            for name in dict.fromkeys([*names, ANY_MODEL]):
                for price in entries.get((provider, name), ()):
                    if price.holds(endpoint, day):
                        return price
        return None

    def charge(
        self, usage: Usage, *, provider: str, endpoint: str, models: Sequence[str | None], at: datetime
    ) -> Charge | None:
        """What a call costs, by the price of the first of these names that has one; None if none has."""
        price = self.find(provider=provider, endpoint=endpoint, models=models, at=at)
        return None if price is None else Charge(price=price, cost=cost_of(usage, price))


NO_PRICES = PriceTable()


def cost_of(usage: Usage, price: Price) -> Decimal | None:
    """USD to ten decimals; None where a count that is needed is missing or makes no sense."""
    prompt, cached, completion = usage.prompt, usage.cached or 0, usage.completion
    if completion is None and (usage.operation == "embeddings" or price.output is None):
        completion = 0
    if prompt is None or completion is None or min(prompt, completion, cached) < 0 or cached > prompt:
        return None
    if completion and price.output is None:
        if usage.operation == "chat":
            return None
        completion = 0
    cached_input = price.input if price.cached_input is None else price.cached_input
    parts = ((prompt - cached, price.input), (cached, cached_input), (completion, price.output or Decimal(0)))
    total = Decimal(0)
    for count, each in parts:
        total = EXACT.add(total, EXACT.multiply(Decimal(count), each))
    cost = EXACT.divide(total, Decimal(MILLION))
    return None if cost >= TOO_MUCH else cost.quantize(PLACES, context=EXACT)


class Total(NamedTuple):
    """Several amounts together. usd: of those that are known, None where none is; unknown: how many are not."""

    usd: Decimal | None
    unknown: int


def total_of(amounts: Iterable[Decimal | None]) -> Total:
    """The amounts together; of none at all, zero."""
    given = list(amounts)
    known = [amount for amount in given if amount is not None]
    usd = None if given and not known else sum(known, Decimal(0))
    return Total(usd, unknown=len(given) - len(known))


def saved_by(parts: Iterable[tuple[Decimal | None, int, int]]) -> Decimal | None:
    """USD to ten decimals that texts' vectors had cost; None where that of a call is unknown.

    parts: what a call cost, for how many texts, and how many of them are given again
    """
    total = Decimal(0)
    for cost, texts, given_again in parts:
        if cost is None:
            return None
        total = EXACT.add(total, EXACT.divide(EXACT.multiply(cost, Decimal(given_again)), Decimal(texts)))
    return total.quantize(PLACES, context=EXACT)


def plain(cost: Decimal | None) -> str | None:
    """An amount as people and programs read it: no exponent, and no zeros at its end."""
    if cost is None:
        return None
    text = f"{cost:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
