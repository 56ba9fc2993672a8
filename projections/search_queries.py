"""Calls by the words of their prompts and answers, newest first, or by rank among the newest.

A frequent word is in the newest texts, which are walked through; a rare one is looked up in the index, era by era from
the newest back, so that neither reads more than what a page needs. Of a frequent word in rare calls, such as failed
ones, it is the calls that are looked through. Measured in docs/decisions/032-search.md.
"""

from typing import Literal, NamedTuple
from uuid import UUID

from msgspec.structs import asdict, replace

from domain.errors import Rejected
from projections.call_queries import BODIES, IN_GROUP, ITEM, CallFilter, calls_at, conditions_of
from projections.excerpts import excerpt_of
from projections.paging import FIRST_PAGE, LATEST, Page, Paging, cursor_at, key_of, last_counted, page_of
from projections.reading import Json, Reader, Row, in_json
from projections.search import ERA_BITS, pieces_of, quoted, tags_of
from projections.search_query import SearchQuery, parsed

Order = Literal["newest", "rank"]

WALKED = 2_000  # texts that are looked at one by one before the index is asked
PASSING = 1_000  # calls that pass the filters, the newest, whose texts are looked at before the index is asked
RANKED = 1_000  # matching texts, the newest, that are put in order by rank
FIRST_ERAS = 2  # that the index is asked for before it is asked for all
SCATTERED = 5_000  # matching texts, of any age, that are put in order
PARTS = ("prompt", "answer")

MEMBER_ONE_BY_ONE = f"{IN_GROUP.rstrip().removesuffix(')')} OFFSET 0)"
FOUND = "SELECT t.call_id, t.part, t.call_position, ts_rank(t.words, %(terms)s::tsquery, 1) AS rank"
NEWEST = """
    {found} FROM (
        SELECT * FROM projections.searched_texts w WHERE w.call_position < %(before)s
        ORDER BY w.call_position DESC LIMIT %(walked)s
    ) t {calls} WHERE t.words @@ %(query)s::tsquery AND t.position <= %(position)s AND {conditions}
    ORDER BY t.call_position DESC LIMIT %(texts)s
"""
# The calls that pass are in the order of their list; their texts are found by their key.
PASSING_CALLS = """
    WITH passing AS MATERIALIZED (
        SELECT c.call_id, c.created_at FROM projections.calls c
        WHERE c.requested_position < %(before)s AND {filters}
        ORDER BY c.created_at DESC, c.requested_position DESC LIMIT %(passing)s
    ), told AS (SELECT count(*) AS calls, min(created_at) AS oldest FROM passing)
    SELECT told.*, f.* FROM told LEFT JOIN (
        {found} FROM passing JOIN projections.searched_texts t USING (call_id)
        WHERE t.words @@ %(query)s::tsquery AND {texts_alone}
        ORDER BY t.call_position DESC LIMIT %(texts)s
    ) f ON true ORDER BY f.call_position DESC
"""
MEMBERS = """
    SELECT count(*) AS members FROM (
        SELECT FROM projections.group_members m WHERE m.group_id = %(group_id)s LIMIT %(passing)s
    ) m
"""
NEWEST_ERA = "SELECT max(e.era) AS era FROM projections.search_eras e WHERE e.first_at < %(until)s"
ERAS = """
    SELECT e.era, e.first_at FROM projections.search_eras e WHERE e.era <= %(newest)s
        AND (%(since)s::timestamptz IS NULL OR e.last_at >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR e.first_at < %(until)s)
    ORDER BY e.era DESC
"""
# The sums keep the planner from walking by position, which only pays for frequent words. Eras are asked one by one, in
# order, until there are texts enough.
IN_ERAS = """
    SELECT f.* FROM (SELECT e.era FROM unnest(%(eras)s::bigint[]) AS e (era) ORDER BY e.era DESC) e
    CROSS JOIN LATERAL (
        {found} FROM projections.searched_texts t {calls}
        WHERE t.words @@ (('''/era/' || e.era || '''')::tsquery && %(query)s::tsquery)
            AND t.call_position + 0 < %(before)s AND t.position <= %(position)s AND {conditions}
        ORDER BY t.call_position + 0 DESC LIMIT %(texts)s
    ) f ORDER BY e.era DESC, f.call_position DESC LIMIT %(texts)s
"""
MATCHING = """
    SELECT count(*) AS texts FROM unnest(%(eras)s::bigint[]) AS e (era) CROSS JOIN LATERAL (
        SELECT FROM projections.searched_texts t
        WHERE t.words @@ (('''/era/' || e.era || '''')::tsquery && %(query)s::tsquery) LIMIT %(enough)s
    ) f
"""
# The planner doesn't see what is asked: of a frequent word it would read the whole table.
SCATTERED_TEXTS = """
    WITH scattered AS MATERIALIZED (
        SELECT t.call_id, t.part, t.call_position, t.position, t.words
        FROM (SELECT %(query)s::tsquery AS query OFFSET 0) asked
        JOIN projections.searched_texts t ON t.words @@ asked.query
        WHERE t.call_position + 0 < %(before)s LIMIT %(scattered)s + 1
    ), told AS (SELECT count(*) AS matching FROM scattered)
    SELECT told.*, f.* FROM told LEFT JOIN (
        {found} FROM scattered t {calls} WHERE t.position <= %(position)s AND {conditions}
        ORDER BY t.call_position DESC LIMIT %(texts)s
    ) f ON told.matching <= %(scattered)s ORDER BY f.call_position DESC
"""


class CallSearch(CallFilter, frozen=True, kw_only=True):
    """Which calls are searched for: those that pass the filters and have a text that fulfils the search.

    search: words, "words in a row", -without, one OR other, beginning*; in prompt or answer, all in the same text
    part: only in prompts, or only in answers
    order: newest first, or by rank among the newest 1,000 texts that match
    """

    search: str
    part: Literal["prompt", "answer"] | None = None
    order: Order = "newest"


class Ranked(NamedTuple):
    """A call that was found: by which of its texts, and the best rank of them."""

    call_id: UUID
    position: int
    parts: tuple[str, ...]
    rank: float


class SearchQueries:
    """Asks the index of words."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @in_json
    async def calls(self, wanted: CallSearch, *, as_of: int | None = None, page: Paging = FIRST_PAGE) -> Page[Row]:
        """Calls as `calls.calls` shows them, each with `rank` and `found`: [{part, text, marks, …}].

        Newest first is in the order of the log. Raises Rejected for a search without a word or too long, and for an
        unknown filter.
        """
        query = parsed(wanted.search)
        look = _Look(self._reader, wanted, query, as_of)
        if wanted.order == "rank":
            return await self._by_rank(look, as_of, page)
        (before,) = page.after((LATEST,), as_of, tuple[int])
        found = await look.newest(before, page.rows, len(PARTS) * page.rows)
        shown = page_of(found, page.limit, as_of, lambda each: (each.position,))
        return Page(await self._shown(shown.items, query, as_of), shown.next_cursor)

    async def _by_rank(self, look: "_Look", as_of: int | None, page: Paging) -> Page[Row]:
        first: tuple[int, float, int] = (LATEST, float("inf"), LATEST)
        before, rank, position = first if page.cursor is None else key_of(page.cursor, tuple[int, float, int], as_of)
        found = await look.newest(before, RANKED, RANKED)
        if found:
            before = min(before, found[0].position + 1)  # calls that come meanwhile are in no later page
        ordered = sorted(found, key=lambda each: (-each.rank, -each.position))
        behind = [each for each in ordered if (-each.rank, -each.position) > (-rank, -position)][: page.rows]
        items = behind[: page.limit]
        cursor = cursor_at((before, items[-1].rank, items[-1].position), as_of) if len(behind) > page.limit else None
        return Page(await self._shown(items, look.query, as_of), cursor)

    async def _shown(self, found: list[Ranked], query: SearchQuery, as_of: int | None) -> list[Row]:
        rows = await self._reader.rows(
            f"SELECT {ITEM}, c.text_path, CASE WHEN c.request_is_json THEN asked.body END AS prompt, "  # noqa: S608
            "CASE WHEN c.response_is_json THEN answered.body END AS answer "
            f"FROM {calls_at(as_of)} c {BODIES} WHERE c.call_id = ANY (%(calls)s::uuid[])",
            {"calls": [each.call_id for each in found], "as_of": as_of},
        )
        by_call = {row["call_id"]: row for row in rows}
        terms = query.marked()
        shown: list[Row] = []
        for each in found:
            # The table of calls is another read model's, and may not be as far yet.
            if (row := by_call.get(each.call_id)) is None:
                continue
            bodies, text_path = {part: row.pop(part) for part in PARTS}, row.pop("text_path")
            pieces = {part: pieces_of(part, bodies[part], text_path) for part in each.parts}
            excerpts = {part: excerpt_of(texts, terms) for part, texts in pieces.items()}
            row["rank"] = each.rank
            row["found"] = [{"part": part, **asdict(at)} for part, at in excerpts.items() if at is not None]
            shown.append(row)
        return shown


class _Look:
    """One search: its conditions, and how the newest calls that fulfil them are found."""

    def __init__(self, reader: Reader, wanted: CallSearch, query: SearchQuery, as_of: int | None) -> None:
        if wanted.part is not None and wanted.part not in PARTS:
            raise Rejected(f"{wanted.part!r} is no part; use one of {', '.join(PARTS)}", fields=("part",))
        if wanted.order not in ("newest", "rank"):
            raise Rejected(f"{wanted.order!r} is no order; use newest or rank", fields=("order",))
        self.query = query
        self._reader = reader
        conditions, parameters = conditions_of(wanted)
        filters = " AND ".join(conditions)
        tags = tags_of(parameters["provider"], wanted.model, wanted.modality)
        # Tags say the same as the table of calls; it is asked only for what they don't say.
        narrowed = replace(wanted, provider=None, model=None, modality=None)
        joined = any(getattr(narrowed, name) is not None for name in CallFilter.__struct_fields__)
        if not joined:
            conditions = ["true"]
        texts_alone = "true" if wanted.part is None else "t.part = %(part)s"
        # As of a position, no index knows which calls pass; of times, eras know enough.
        self._passes_rarely = as_of is None and any((wanted.status, wanted.group_id, wanted.actor))
        self._group_id, self._until = wanted.group_id, wanted.until
        self._sql = {
            "found": FOUND,
            "calls": f"JOIN {calls_at(as_of)} c ON c.call_id = t.call_id" if joined else "",
            # One by one: the planner would read all members of a group first, however large it is.
            "conditions": " AND ".join([*conditions, texts_alone]).replace(IN_GROUP, MEMBER_ONE_BY_ONE),
            "filters": filters,
            "texts_alone": texts_alone,
        }
        terms = query.tsquery()
        self._parameters = {
            **parameters,
            "terms": terms,
            "query": " & ".join([f"({terms})", *map(quoted, tags)]),
            "as_of": as_of,
            "position": last_counted(as_of),
            "walked": WALKED,
            "passing": PASSING,
            "scattered": SCATTERED,
        }

    async def newest(self, before: int, calls: int, texts: int) -> list[Ranked]:
        """The newest calls requested before a position, at most so many, of at most so many texts; newest first."""
        parameters: Json = {**self._parameters, "texts": texts}
        if self._until is not None:
            row = await self._reader.row(NEWEST_ERA, parameters)
            if row is None or row["era"] is None:
                return []
            before = min(before, (row["era"] + 1) << ERA_BITS)
        parameters["before"] = before
        rows = await self._reader.rows(NEWEST.format(**self._sql), parameters)
        if not _are(calls, texts, rows):
            rows = await self._behind(parameters, calls)
        return _calls_of(rows)[:calls]

    async def _behind(self, parameters: Json, calls: int) -> list[Row]:
        """What the newest texts are too few for."""
        texts = parameters["texts"]
        eras = await self._reader.rows(ERAS, {**parameters, "newest": parameters["before"] >> ERA_BITS})
        rows: list[Row] = []
        if await self._may_pass_rarely(parameters):
            rows, eras = await self._of_passing(parameters, eras)
        numbers = [row["era"] for row in eras]
        first, others = numbers[:FIRST_ERAS], numbers[FIRST_ERAS:]
        for some in (first, others):
            if not some or _are(calls, texts, rows):
                return rows
            if some is others and not await self._are_many(parameters, first, len(eras)):
                found = await self._reader.rows(SCATTERED_TEXTS.format(**self._sql), parameters)
                if found[0]["matching"] <= SCATTERED:
                    return [row for row in found if row["call_id"] is not None]
            rows += await self._reader.rows(IN_ERAS.format(**self._sql), {**parameters, "eras": some})
        return rows

    async def _are_many(self, parameters: Json, first: list[int], eras: int) -> bool:
        """Whether it looks as if more texts match than are put in order: as many in each era as in the first."""
        enough = SCATTERED * len(first) // eras + 1
        row = await self._reader.row(MATCHING, {**parameters, "eras": first, "enough": enough})
        return row is not None and row["texts"] >= enough

    async def _may_pass_rarely(self, parameters: Json) -> bool:
        """Whether the calls that pass the filters can be found without looking at many that don't."""
        if self._group_id is None or not self._passes_rarely:
            return self._passes_rarely
        row = await self._reader.row(MEMBERS, parameters)
        return row is not None and row["members"] < PASSING

    async def _of_passing(self, parameters: Json, eras: list[Row]) -> tuple[list[Row], list[Row]]:
        """Texts of the newest calls that pass, and the eras in which there may be others.

        Those calls are the newest by their times, texts by their positions: of an era that began after the oldest of
        them, there are no others.
        """
        found = await self._reader.rows(PASSING_CALLS.format(**self._sql), parameters)
        rows = [row for row in found if row["call_id"] is not None]
        if found[0]["calls"] < PASSING:
            return rows, []
        seen = 0
        while seen < len(eras) and eras[seen]["first_at"] > found[0]["oldest"]:
            seen += 1
        left = eras[seen:]
        return [row for row in rows if not left or row["call_position"] >> ERA_BITS > left[0]["era"]], left


def _are(calls: int, texts: int, rows: list[Row]) -> bool:
    """Whether rows hold so many calls, or so many texts."""
    return len(rows) >= texts or len({row["call_id"] for row in rows}) >= calls


def _calls_of(rows: list[Row]) -> list[Ranked]:
    """A call may be found by both of its texts, which lie side by side."""
    found: dict[UUID, Ranked] = {}
    for row in rows:
        before = found.get(row["call_id"])
        parts = (row["part"],) if before is None else tuple(sorted((*before.parts, row["part"]), key=PARTS.index))
        rank = row["rank"] if before is None else max(before.rank, row["rank"])
        found[row["call_id"]] = Ranked(row["call_id"], row["call_position"], parts, rank)
    return list(found.values())
