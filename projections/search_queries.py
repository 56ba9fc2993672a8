"""Calls by the words of their prompts and answers, newest first, or by rank among the newest.

A frequent word is in the newest texts, which are walked through; another one is looked up in the index, era by era from
the newest back until there is a page, which costs next to nothing where it doesn't occur. Of rare calls, such as failed
ones, the newest are looked through before both. Measured in docs/decisions/032-search.md.
"""

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import asdict, replace

from projections.call_queries import (
    BODIES,
    ITEM,
    MEMBER_ONE_BY_ONE,
    CallFilter,
    calls_at,
    conditions_of,
    newest_calls,
)
from projections.excerpts import excerpt_around, found_places
from projections.paging import FIRST_PAGE, LATEST, Page, Paging, cursor_at, key_of, last_counted, page_of
from projections.reading import Json, Reader, Row, in_json
from projections.search import ERA_BITS, STRETCH_BITS, pieces_of
from projections.search_eras import ASKED, BOUNDS, NEWEST_FIRST, PARTS, CallSearch, asked_of_eras
from projections.substring_queries import SubstringLook, check_substrings

Places = Callable[[str], list[tuple[int, int]]]

WALKED = 2_000  # texts that are looked at one by one before the index is asked
WALKED_FIRST = 250  # of them; those behind them only if so many find their share
PASSING_FIRST = 100  # calls that pass the filters, the newest, whose texts are looked at before all: enough for a page
PASSING = 1_000  # that are looked at before the index is asked
PASSINGS = 10  # times that so many of a group are looked at, one after the other, in place of the index
RANKED = 1_000  # matching texts, the newest, that are put in order by rank
FIRST_ERAS = 16  # that are asked for before all the others: mostly there is a page in them

NEWEST = """
    SELECT t.call_id, t.part, t.call_position, ts_rank(t.words, {terms}, 1) AS rank FROM (
        SELECT * FROM projections.searched_texts w
        WHERE w.call_position < %(before)s AND w.call_position >= %(walked_to)s
        ORDER BY w.call_position DESC LIMIT %(walked)s
    ) t {calls} WHERE t.words @@ {query} AND t.position <= %(position)s AND {conditions}
    ORDER BY t.call_position DESC LIMIT %(texts)s
"""
IN_THIS_ERA = "CASE WHEN t.call_position >= %(era_begin)s THEN %({0})s::tsquery ELSE %({0}_before)s::tsquery END"
# The calls that pass are in the order of their list; their texts are found by their key, one by one: the planner can't
# see how few calls pass, and has read all texts for them.
PASSING_CALLS = """
    WITH passing AS MATERIALIZED (
        SELECT c.call_id, c.created_at FROM ({newest_calls}) AS c
    ), texts AS MATERIALIZED (
        SELECT t.* FROM passing CROSS JOIN LATERAL (
            SELECT * FROM projections.searched_texts w WHERE w.call_id = passing.call_id OFFSET 0
        ) t
    ), told AS MATERIALIZED (
        SELECT (SELECT count(*) FROM passing) AS calls, (
            SELECT max(s.stretch) FROM projections.search_stretches s
            WHERE s.first_at <= (SELECT min(created_at) FROM passing)
        ) AS stretch
    )
    SELECT told.*, f.call_id, f.part, f.call_position, ts_rank(f.words, f.terms, 1) AS rank FROM told LEFT JOIN (
        SELECT t.*, a.terms FROM texts t JOIN ({asked_of_texts}) AS a ON a.era = t.call_position >> %(era_bits)s
        WHERE t.words @@ a.query AND {texts_alone}
        ORDER BY t.call_position DESC LIMIT %(texts)s
    ) f ON true ORDER BY f.call_position DESC
"""
IN_ERAS_OF_TEXTS = ASKED.format(
    where="WHERE e.era IN (SELECT w.call_position >> %(era_bits)s FROM texts w)", order="DESC"
)
MEMBERS = """
    (SELECT count(*) FROM (
        SELECT FROM projections.group_members m WHERE m.group_id = %(group_id)s LIMIT %(passing)s
    ) m) AS members
"""
# The sums keep the planner from walking by position, which only pays for frequent words. Eras are asked one by one, in
# order, until there are texts enough, and only those are ranked.
IN_ERAS = """
    SELECT f.call_id, f.part, f.call_position, ts_rank(f.words, a.terms, 1) AS rank
    FROM ({asked}) AS a CROSS JOIN LATERAL (
        SELECT t.call_id, t.part, t.call_position, t.words FROM projections.searched_texts t {calls}
        WHERE t.words @@ a.query AND t.call_position + 0 < %(before)s AND t.position <= %(position)s AND {conditions}
        ORDER BY t.call_position + 0 DESC LIMIT %(texts)s
    ) f ORDER BY a.era DESC, f.call_position DESC LIMIT %(texts)s
"""


class Ranked(NamedTuple):
    """A call that was found: by which of its texts, and the best rank of them."""

    call_id: UUID
    position: int
    parts: tuple[str, ...]
    rank: float


class SearchQueries:
    """Asks the index of words."""

    def __init__(self, reader: Reader, *, substrings: bool = False) -> None:
        """substrings: whether there is a read model of whole texts"""
        self._reader = reader
        self.substrings = substrings

    @in_json
    async def calls(self, wanted: CallSearch, *, as_of: int | None = None, page: Paging = FIRST_PAGE) -> Page[Row]:
        """Calls as `calls.calls` shows them, each with `rank` and `found`: [{part, text, marks, …}].

        Newest first is in the order of the log. Raises Rejected for a search without a word or too long, and for an
        unknown filter.
        """
        look = self._look(wanted, as_of)
        if wanted.order == "rank":
            return await self._by_rank(look, as_of, page)
        (before,) = page.after((LATEST,), as_of, tuple[int])
        found = _calls_of(await look.newest(before, page.rows, len(PARTS) * page.rows))[: page.rows]
        shown = page_of(found, page.limit, as_of, lambda each: (each.position,))
        return Page(await self._shown(shown.items, look.places, as_of), shown.next_cursor)

    def check(self, wanted: CallSearch) -> None:
        """Raises Rejected for what can't be searched for here."""
        self._look(wanted, None)

    def _look(self, wanted: CallSearch, as_of: int | None) -> "_Look | SubstringLook":
        check_substrings(wanted, there=self.substrings)
        if wanted.match == "words":
            return _Look(self._reader, wanted, as_of)
        return SubstringLook(self._reader, wanted, as_of)

    async def _by_rank(self, look: "_Look | SubstringLook", as_of: int | None, page: Paging) -> Page[Row]:
        first: tuple[int, float, int] = (LATEST, float("inf"), LATEST)
        before, rank, position = first if page.cursor is None else key_of(page.cursor, tuple[int, float, int], as_of)
        rows = await look.newest(before, RANKED, RANKED)
        best: dict[int, float] = {}
        for row in rows:
            best[row["call_position"]] = max(row["rank"], best.get(row["call_position"], 0.0))
        newest = list(best)[:RANKED]
        if newest:
            before = min(before, newest[0] + 1)  # calls that come meanwhile are in no later page
        ordered = sorted((-best[each], -each) for each in newest)
        behind = [each for each in ordered if each > (-rank, -position)][: page.rows]
        items = {-each: -its_rank for its_rank, each in behind[: page.limit]}
        calls = {each.position: each for each in _calls_of([row for row in rows if row["call_position"] in items])}
        cursor = None
        if len(behind) > page.limit:
            last, its_rank = list(items.items())[-1]
            cursor = cursor_at((before, its_rank, last), as_of)
        return Page(await self._shown([calls[each] for each in items], look.places, as_of), cursor)

    async def _shown(self, found: list[Ranked], places_in: Places, as_of: int | None) -> list[Row]:
        if not found:
            return []
        rows = await self._reader.rows(
            f"SELECT {ITEM}, c.text_path, CASE WHEN c.request_is_json THEN asked.body END AS prompt, "  # noqa: S608
            "CASE WHEN c.response_is_json THEN answered.body END AS answer "
            f"FROM {calls_at(as_of)} c {BODIES} WHERE c.call_id = ANY (%(calls)s::uuid[])",
            {"calls": [each.call_id for each in found], "as_of": as_of},
        )
        by_call = {row["call_id"]: row for row in rows}
        shown: list[Row] = []
        for each in found:
            row = by_call[each.call_id]
            bodies, text_path = {part: row.pop(part) for part in PARTS}, row.pop("text_path")
            pieces = {part: pieces_of(part, bodies[part], text_path) for part in each.parts}
            excerpts = {part: excerpt_around(texts, places_in) for part, texts in pieces.items()}
            row["rank"] = each.rank
            row["found"] = [{"part": part, **asdict(at)} for part, at in excerpts.items() if at is not None]
            shown.append(row)
        return shown


class _Look:
    """One search: its conditions, and how the newest calls that fulfil them are found."""

    def __init__(self, reader: Reader, wanted: CallSearch, as_of: int | None) -> None:
        self._asked = asked_of_eras(wanted)
        self._terms = self._asked.query.marked()
        self._reader = reader
        conditions, parameters = conditions_of(wanted, member=MEMBER_ONE_BY_ONE)
        # As of a position, no index knows which calls pass; of times, stretches know enough.
        self._passes_rarely = as_of is None and any((wanted.status, wanted.group_id, wanted.actor))
        self._group_id = wanted.group_id
        passing = newest_calls(wanted, as_of, ["c.requested_position < %(before)s", *conditions])
        # Tags say the same as the table of calls; it is asked only for what they don't say.
        narrowed = replace(wanted, provider=None, model=None, modality=None)
        joined = any(getattr(narrowed, name) is not None for name in CallFilter.__struct_fields__)
        if joined and narrowed == replace(narrowed, status=None, actor=None, since=None, until=None):
            calls = "CROSS JOIN LATERAL (SELECT t.call_id) c"  # of a group, ids are enough
        else:
            calls = f"JOIN {calls_at(as_of)} c ON c.call_id = t.call_id" if joined else ""
        texts_alone = "true" if wanted.part is None else "t.part = %(part)s"
        self._sql = {
            "calls": calls,
            "conditions": " AND ".join([*(conditions if joined else []), texts_alone]),
            "newest_calls": passing,
            "texts_alone": texts_alone,
            "asked": NEWEST_FIRST,
            "asked_of_texts": IN_ERAS_OF_TEXTS,
        }
        self._parameters = {
            **parameters,
            "as_of": as_of,
            "position": last_counted(as_of),
            "passing": PASSING * PASSINGS,
            "era_bits": ERA_BITS,
        }

    async def newest(self, before: int, calls: int, texts: int) -> list[Row]:
        """Texts of the newest calls requested before a position: of so many calls, or so many; newest first."""
        parameters: Json = {**self._parameters, "texts": texts}
        of_group = self._passes_rarely and self._group_id is not None
        bounds = await self._reader.row(f"{BOUNDS}, {MEMBERS}" if of_group else BOUNDS, parameters)
        if bounds is None or None in (bounds["known"], bounds["first"], bounds["last"]):
            return []
        begin, end = bounds["first"] << STRETCH_BITS, (bounds["last"] + 1) << STRETCH_BITS
        parameters["before"] = before = min(before, end, bounds["known"] + 1, parameters["position"] + 1)
        rounds = int(self._passes_rarely)
        if of_group:  # where it is large, the index finds them sooner
            rounds = PASSINGS if bounds["members"] < PASSING * PASSINGS else 0
        rows: list[Row] = []
        if rounds:
            rows, parameters["before"] = await self._of_passing(parameters, PASSING_FIRST)
        # Where so few calls lie further apart than is walked, all of that has been looked at.
        if before - parameters["before"] < WALKED and not _are(calls, texts, rows):
            walked = rows + await self._walked(parameters, calls, texts)
            rows = walked if _are(calls, texts, walked) else rows
        if not _are(calls, texts, rows):
            rows = await self._looked_up(parameters, begin, calls, rounds, rows)
        return rows

    def places(self, text: str) -> list[tuple[int, int]]:
        """[begin, end) of each word in a text by which it is found."""
        return found_places(text, self._terms)

    async def _walked(self, parameters: Json, calls: int, texts: int) -> list[Row]:
        """What is among the newest texts, or among the very newest if that is enough, or too little to look further.

        Where the table of calls is asked as well, the very newest say nothing about the others: they may be too new.
        """
        if not self._sql["calls"]:
            rows = await self._walked_through(parameters, WALKED_FIRST)
            if _are(calls, texts, rows) or len(_calls_in(rows)) * WALKED < calls * WALKED_FIRST:
                return rows
        return await self._walked_through(parameters, WALKED)

    async def _walked_through(self, parameters: Json, walked: int) -> list[Row]:
        """What is among so many texts: those of two eras at most, which are asked for in two ways."""
        era = max(0, parameters["before"] - 1) >> ERA_BITS
        query, terms = self._asked.of(era)
        query_before, terms_before = self._asked.of(max(0, era - 1))
        asked = {"query": query, "terms": terms, "query_before": query_before, "terms_before": terms_before}
        begin = era << ERA_BITS
        places = {"era_begin": begin, "walked_to": begin - (1 << ERA_BITS), "walked": walked}
        sql = self._filled(NEWEST, query=IN_THIS_ERA.format("query"), terms=IN_THIS_ERA.format("terms"))
        return await self._reader.rows(sql, {**parameters, **asked, **places})

    async def _looked_up(self, parameters: Json, begin: int, calls: int, rounds: int, rows: list[Row]) -> list[Row]:
        """With what those rows and the newest texts are too few for, from a position on."""
        for _ in range(rounds):
            if parameters["before"] <= begin or _are(calls, parameters["texts"], rows):
                break
            found, before = await self._of_passing(parameters, PASSING)
            rows = rows + found
            stands, parameters["before"] = before == parameters["before"], before
            if stands:
                break
        newest, sql = parameters["before"] - 1 >> ERA_BITS, self._filled(IN_ERAS)
        eras = range(begin >> ERA_BITS, newest + 1)
        for some in (eras[-FIRST_ERAS:], eras[:-FIRST_ERAS]):
            if not some or _are(calls, parameters["texts"], rows):
                break
            rows = rows + await self._reader.rows(sql, self._of_eras(parameters, some))
        return rows

    async def _of_passing(self, parameters: Json, calls: int) -> tuple[list[Row], int]:
        """Texts of so many of the newest calls that pass, and the position before which there may be others.

        Those calls are the newest by their times, texts by their positions: in a stretch that began after the oldest
        of them, there are no others.
        """
        before = parameters["before"]
        asked = self._of_eras(parameters, range((before - 1 >> ERA_BITS) + 1))
        sql = self._filled(PASSING_CALLS)
        found = await self._reader.rows(sql, {**asked, "limit": calls}, planned="anew")
        rows = [row for row in found if row["call_id"] is not None]
        if found[0]["calls"] < calls or found[0]["stretch"] is None:
            return rows, 0
        left = min(before, (found[0]["stretch"] + 1) << STRETCH_BITS)
        return [row for row in rows if row["call_position"] >= left], left

    def _of_eras(self, parameters: Json, eras: range) -> Json:
        """With what is asked in each of some eras."""
        return {**parameters, **self._asked.parameters(eras)}

    def _filled(self, sql: str, *, terms: str = "", query: str = "") -> str:
        return sql.format(terms=terms, query=query, **self._sql)


def _are(calls: int, texts: int, rows: list[Row]) -> bool:
    """Whether rows hold so many calls, or so many texts."""
    return len(rows) >= texts or len(_calls_in(rows)) >= calls


def _calls_in(rows: list[Row]) -> set[int]:
    """The calls, each by its position: those are told apart sooner than ids."""
    return {row["call_position"] for row in rows}


def _calls_of(rows: list[Row]) -> list[Ranked]:
    """A call may be found by both of its texts, which lie side by side."""
    found: dict[int, Ranked] = {}
    for row in rows:
        position, rank = row["call_position"], row["rank"]
        parts: tuple[str, ...] = (row["part"],)
        before = found.get(position)
        if before is not None:
            parts = tuple(sorted(before.parts + parts, key=PARTS.index))
            rank = max(before.rank, rank)
        found[position] = Ranked(row["call_id"], position, parts, rank)
    return list(found.values())
