"""The questions that `benchmarks/queries.py` asks of a store that it filled, each in many variations."""

import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from benchmarks.made_calls import LARGE_GROUP_ID, LONG_AGO, RARE_ACTOR, RARE_MODEL, RUNS, WORDS
from domain.groups import group_id_of
from projections.call_queries import CallFilter
from projections.group_queries import UNPLACED
from projections.paging import LATEST, Paging, cursor_at
from projections.queries import Queries
from projections.search_eras import CallSearch

LISTS_MS, SEARCH_MS = 20, 50
LONG = timedelta(days=30)


class Question(NamedTuple):
    """What is asked, the p95 that is wanted, if one is, and how to ask it once more, otherwise."""

    name: str
    target_ms: float | None
    ask: Callable[[], Awaitable[Any]]


class Log(NamedTuple):
    """What is to be known of the store, to ask of places all over it."""

    calls: int
    runs: int
    begin: datetime
    end: datetime
    last_position: int

    @classmethod
    def of(cls, uri: str) -> "Log":
        """Look at the store: at the calls that it was filled with, not at those that were written since."""
        with psycopg.connect(uri) as connection:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM projections.groups WHERE group_type = 'batch'), min(c.created_at), "
                "max(c.created_at), max(c.requested_position), count(*) FROM projections.calls c "
                "WHERE c.requested_position < (SELECT max(position) FROM projections.groups)"
            ).fetchone()
        if row is None or row[1] is None:
            raise SystemExit("There are no calls in this store; name a new folder, and it is filled")
        runs, begin, end, last, calls = row
        return cls(calls, runs, begin, end, last)


class Questions:
    """Asks about calls all over a store."""

    def __init__(self, queries: Queries, log: Log) -> None:
        self._queries = queries
        self._log = log
        self._chance = random.Random(3)

    def lists(self) -> list[Question]:
        """Lists of calls by filters; pages of 50, some of them anywhere."""
        day = timedelta(days=1)
        return [
            self._list("newest"),
            self._list("newest, a page anywhere", anywhere=True),
            self._list("provider and model", provider="openai", model="gpt-4o-mini"),
            self._list("provider and model, a page anywhere", anywhere=True, provider="azure", model="gpt-4o"),
            self._list("provider", provider="azure"),
            self._list("model", model="gpt-4o"),
            self._list("model, 0.01 % of the calls", model=RARE_MODEL),
            self._list("model that there is not", model="gpt-9"),
            self._list("failed", status="failed"),
            self._list("cancelled", status="cancelled"),
            self._list("requested", status="requested"),
            self._list("failed, of a provider and model", status="failed", provider="azure", model="gpt-4o"),
            self._list("actor", actor="ada"),
            self._list("actor, 0.01 % of the calls", actor=RARE_ACTOR),
            self._list("actor, failed", actor="grace", status="failed"),
            self._list("within a day", since=self._log.end - LONG / 2, until=self._log.end - LONG / 2 + day),
            self._list("in the large group", group_id=LARGE_GROUP_ID),
            Question(
                "in a group of 500", LISTS_MS, lambda: self._queries.calls.calls(CallFilter(group_id=self._run()))
            ),
            Question("as of the middle", None, self._as_of),
        ]

    def groups(self) -> list[Question]:
        """Members, page by page, of a group that holds a tenth of all calls, and of small ones."""
        members = self._queries.groups.members

        def anywhere() -> Awaitable[Any]:
            key = (UNPLACED, self._chance.randrange(self._log.last_position), 0)
            return members(LARGE_GROUP_ID, page=Paging(50, cursor_at(key, None)))

        return [
            Question("large group, first page", LISTS_MS, lambda: members(LARGE_GROUP_ID)),
            Question("large group, a page anywhere", LISTS_MS, anywhere),
            Question("group of 500", LISTS_MS, lambda: members(self._run())),
            Question("large group, how many", None, lambda: self._queries.groups.group(LARGE_GROUP_ID)),
        ]

    def sums(self) -> list[Question]:
        """Comparisons and series."""
        ask = self._queries.analytics
        lately = CallFilter(since=self._log.end - LONG, until=self._log.end)
        return [
            Question("summary", LISTS_MS, ask.summary),
            Question("providers and models", LISTS_MS, ask.providers),
            Question("providers and models, 30 days", LISTS_MS, lambda: ask.providers(lately)),
            Question("hours of 30 days", LISTS_MS, lambda: self._queries.series.timeseries(lately, bucket="hour")),
            Question("hours of 30 days, a model", LISTS_MS, lambda: self._hours(lately)),
            Question(
                "hours of 30 days, Kolkata",
                LISTS_MS,
                lambda: self._queries.series.timeseries(lately, timezone="Asia/Kolkata"),
            ),
            Question("days of 30 days, Berlin", LISTS_MS, lambda: self._days(lately)),
            Question("errors", LISTS_MS, ask.errors),
        ]

    def searches(self) -> list[Question]:
        """Words of known frequency, alone and with filters."""
        asked = [self._search(f"{word}, {share * 100:g} % of calls", search=word) for word, (share, _) in WORDS.items()]
        early = self._log.begin + (self._log.end - self._log.begin) / 10
        return [
            self._search("the, most texts", search="the"),
            *asked,
            Question("a word of one call", SEARCH_MS, lambda: self._found(search=self._ticket())),
            self._search("a word of none", search="xylophone"),
            self._search("a word of long ago", search=LONG_AGO),
            self._search("all of two words", search="theorem marmalade"),
            self._search("one of two words", search="quasar OR obelisk"),
            self._search("words in a row", search='"of the"'),
            self._search("how a word begins", search="marmal*"),
            self._search("frequent, anywhere", anywhere=True, search="theorem"),
            self._search("by rank, frequent", search="the", order="rank"),
            self._search("by rank, 0.1 %", search="marmalade", order="rank"),
            self._search("frequent, rare model", search="the", model=RARE_MODEL),
            self._search("frequent, failed", search="the", status="failed"),
            self._search("frequent, cancelled", search="the", status="cancelled"),
            self._search("frequent, rare actor", search="the", actor=RARE_ACTOR),
            self._search("1 %, large group", search="gradient", group_id=LARGE_GROUP_ID),
            Question("frequent, group of 500", SEARCH_MS, lambda: self._found(search="the", group_id=self._run())),
            self._search("frequent, early until", search="the", until=early),
            self._search("1 %, early until", search="gradient", until=early),
        ]

    def _list(self, name: str, *, anywhere: bool = False, **filters: Any) -> Question:
        wanted = CallFilter(**filters)

        def ask() -> Awaitable[Any]:
            page = Paging(50, cursor_at((self._moment(), LATEST), None) if anywhere else None)
            return self._queries.calls.calls(wanted, page=page)

        return Question(name, LISTS_MS, ask)

    def _as_of(self) -> Awaitable[Any]:
        middle = self._log.last_position // 2 + self._chance.randrange(1000)
        return self._queries.calls.calls(as_of=middle)

    def _hours(self, lately: CallFilter) -> Awaitable[Any]:
        return self._queries.series.timeseries(lately, bucket="hour", by="model")

    def _days(self, lately: CallFilter) -> Awaitable[Any]:
        return self._queries.series.timeseries(lately, bucket="day", timezone="Europe/Berlin")

    def _search(self, name: str, *, anywhere: bool = False, **wanted: Any) -> Question:
        return Question(name, SEARCH_MS, lambda: self._found(anywhere=anywhere, **wanted))

    def _found(self, *, anywhere: bool = False, **wanted: Any) -> Awaitable[Any]:
        key = (self._chance.randrange(self._log.last_position // 10, self._log.last_position),)
        page = Paging(50, cursor_at(key, None) if anywhere else None)
        return self._queries.search.calls(CallSearch(**wanted), page=page)

    def _ticket(self) -> str:
        return f"ticket{self._chance.randrange(self._log.calls):07d}"

    def _run(self) -> UUID:
        return group_id_of(RUNS, f"run {self._chance.randrange(self._log.runs)}")

    def _moment(self) -> datetime:
        return self._log.begin + (self._log.end - self._log.begin) * self._chance.random()
