"""What is added up about calls that are alike: how many, how long, how many tokens, how much."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from domain.calls import CallAnswered, CallCancelled, CallFailed
from domain.latency import bucket_of, counts_in, histogram, microseconds
from domain.pricing import EXACT, PLACES

MOST_TOKENS = 10**9  # of one call: what a count amounts to that no provider means, as for its cost
NOTHING = Decimal(0)


class Kind(NamedTuple):
    """Which calls are alike: asked in the same minute, of the same model, with the same outcome.

    outcome: success, failed or cancelled; joined or cached, where another call's answer was given instead of a call
    """

    minute: datetime
    provider: str
    model: str
    modality: str
    outcome: str


class Times:
    """Some measured times, added up: in whole microseconds, so that their order makes no difference."""

    __slots__ = ("calls", "counts", "longest", "shortest", "sum_us")

    def __init__(self) -> None:
        self.calls = self.sum_us = 0
        self.shortest: int | None = None
        self.longest: int | None = None
        self.counts: dict[int, int] = {}

    def add(self, milliseconds: float | None) -> None:
        """Count one more, if it was measured."""
        time_us = microseconds(milliseconds)
        if time_us is None:
            return
        self.calls += 1
        self.sum_us += time_us
        self._reach(time_us, time_us)
        bucket = bucket_of(time_us)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def merge(self, other: "Times") -> None:
        """Count those of another one as well."""
        self.calls += other.calls
        self.sum_us += other.sum_us
        if other.shortest is not None and other.longest is not None:
            self._reach(other.shortest, other.longest)
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def row(self) -> tuple[Any, ...]:
        """As a table keeps it."""
        return self.calls, self.sum_us, self.shortest, self.longest, histogram(self.counts)

    @classmethod
    def of(cls, row: Sequence[Any]) -> "Times":
        """What a table kept."""
        times = cls()
        times.calls, times.sum_us, times.shortest, times.longest = row[:4]
        times.counts = counts_in(row[4])
        return times

    def _reach(self, shortest: int, longest: int) -> None:
        self.shortest = shortest if self.shortest is None else min(self.shortest, shortest)
        self.longest = longest if self.longest is None else max(self.longest, longest)


class Tally:
    """Some calls that are alike, added up. Costs that are not known are counted and not added."""

    __slots__ = ("attempts", "calls", "cost", "cost_unknown", "first_token", "latency", "tokens", "tokens_calls")

    def __init__(self) -> None:
        self.calls = self.attempts = self.cost_unknown = self.tokens_calls = 0
        self.cost = NOTHING
        self.tokens = [0, 0, 0, 0]
        self.latency, self.first_token = Times(), Times()

    def answered(self, fact: CallAnswered) -> None:
        """Count a call that got an answer."""
        self.calls += 1
        self.attempts += fact.attempt
        self.pay(fact.cost)
        self.latency.add(fact.latency_ms)
        self.first_token.add(fact.first_token_ms)
        told = fact.tokens
        self.tokens_calls += counted(told.total) is not None
        for place, count in enumerate((told.prompt, told.completion, told.total, told.cached)):
            self.tokens[place] += counted(count) or 0

    def ended(self, fact: CallFailed | CallCancelled) -> None:
        """Count a call that got none."""
        self.calls += 1
        self.attempts += fact.attempts

    def saved(self, cost: Decimal | None) -> None:
        """Count a call that need not be made, and what it would have cost."""
        self.calls += 1
        self.pay(cost)

    def pay(self, cost: Decimal | None) -> None:
        """Add an amount in USD."""
        if cost is None:
            self.cost_unknown += 1
        else:
            self.cost = EXACT.add(self.cost, cost.quantize(PLACES, context=EXACT))

    def merge(self, other: "Tally") -> None:
        """Count the calls of another one as well."""
        self.calls += other.calls
        self.attempts += other.attempts
        self.cost_unknown += other.cost_unknown
        self.tokens_calls += other.tokens_calls
        self.cost = EXACT.add(self.cost, other.cost)
        self.tokens = [one + another for one, another in zip(self.tokens, other.tokens, strict=True)]
        self.latency.merge(other.latency)
        self.first_token.merge(other.first_token)

    def row(self) -> tuple[Any, ...]:
        """As a table keeps it."""
        return (
            *(self.calls, self.attempts, self.cost, self.cost_unknown, self.tokens_calls),
            *self.tokens,
            *self.latency.row(),
            *self.first_token.row(),
        )

    @classmethod
    def of(cls, row: Sequence[Any]) -> "Tally":
        """What a table kept."""
        tally = cls()
        tally.calls, tally.attempts, tally.cost, tally.cost_unknown, tally.tokens_calls = row[:5]
        tally.tokens = list(row[5:9])
        tally.latency, tally.first_token = Times.of(row[9:14]), Times.of(row[14:19])
        return tally


class Failures:
    """Attempts and calls that failed for the same reason, added up; and when the last of them did."""

    __slots__ = ("attempts", "calls", "last_at")

    def __init__(self, attempts: int = 0, calls: int = 0, last_at: datetime | None = None) -> None:
        self.attempts, self.calls, self.last_at = attempts, calls, last_at

    def merge(self, other: "Failures") -> None:
        """Count those of another one as well."""
        self.attempts += other.attempts
        self.calls += other.calls
        known = [at for at in (self.last_at, other.last_at) if at is not None]
        self.last_at = max(known, default=None)

    def row(self) -> tuple[Any, ...]:
        """As a table keeps it."""
        return self.attempts, self.calls, self.last_at

    @classmethod
    def of(cls, row: Sequence[Any]) -> "Failures":
        """What a table kept."""
        return cls(*row)


def counted(tokens: int | None) -> int | None:
    """A count of tokens that a provider can have meant."""
    return tokens if tokens is not None and 0 <= tokens <= MOST_TOKENS else None
