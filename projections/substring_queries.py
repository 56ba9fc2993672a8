"""Calls by any run of characters in their prompts and answers, newest first: where the server has pg_trgm."""

import re
from collections.abc import AsyncIterator
from uuid import UUID

from domain.errors import Rejected
from projections.call_queries import MEMBER_ONE_BY_ONE, calls_at, conditions_of
from projections.paging import last_counted
from projections.reading import Json, Reader, Row
from projections.search import ERA_BITS
from projections.search_eras import KNOWN, PARTS, CallSearch
from projections.search_query import MOST_CHARACTERS
from projections.search_substrings import folded

WALKED = 2_000  # texts that are looked at one by one before the index is asked
MISSING = (
    "Only words can be searched for here: parts of words need the extension pg_trgm in the store's database. Where its "
    "server has it (postgresql-contrib), the database's owner adds it: CREATE EXTENSION pg_trgm; and what is recorded "
    "is read for it once the study is opened again. The embedded server has none"
)

FITS = "t.folded LIKE %(pattern)s AND t.position <= %(position)s AND (%(part)s::text IS NULL OR t.part = %(part)s)"
NEWEST = f"""
    SELECT t.call_id, t.part, t.call_position, 1::real AS rank FROM (
        SELECT * FROM projections.substring_texts w WHERE w.call_position < %(before)s
        ORDER BY w.call_position DESC LIMIT %(walked)s
    ) t {{calls}} WHERE {FITS} AND {{conditions}} ORDER BY t.call_position DESC LIMIT %(texts)s
"""  # noqa: S608 - our own names
ERAS = """
    SELECT generate_series(0, (SELECT max(call_position) >> %(era_bits)s FROM projections.substring_texts)) AS era
"""
# The sums keep the planner from walking by position, which only pays for frequent texts.
IN_ERAS = f"""
    SELECT f.* FROM (SELECT * FROM ({ERAS}) AS e WHERE era <= %(before)s >> %(era_bits)s ORDER BY era DESC) AS a
    CROSS JOIN LATERAL (
        SELECT t.call_id, t.part, t.call_position, 1::real AS rank FROM projections.substring_texts t {{calls}}
        WHERE t.era @> ARRAY[a.era::int] AND t.call_position + 0 < %(before)s AND {FITS} AND {{conditions}}
        ORDER BY t.call_position + 0 DESC LIMIT %(texts)s
    ) f ORDER BY a.era DESC, f.call_position DESC LIMIT %(texts)s
"""  # noqa: S608 - our own names
FROM_OLDEST = f"""
    SELECT f.* FROM (SELECT * FROM ({ERAS}) AS e WHERE era >= %(after)s >> %(era_bits)s ORDER BY era) AS a
    CROSS JOIN LATERAL (
        SELECT t.call_id, t.call_position FROM projections.substring_texts t
        WHERE t.era @> ARRAY[a.era::int] AND t.call_position + 0 > %(after)s AND {FITS}
        GROUP BY t.call_id, t.call_position ORDER BY t.call_position LIMIT %(limit)s
    ) f ORDER BY a.era, f.call_position LIMIT %(limit)s
"""  # noqa: S608 - our own names


class SubstringLook:
    """One search for a run of characters. Raises Rejected for one that can't be searched for."""

    def __init__(self, reader: Reader, wanted: CallSearch, as_of: int | None) -> None:
        self._pattern = pattern_of(wanted)
        self._text = wanted.search
        self._reader = reader
        conditions, parameters = conditions_of(wanted, member=MEMBER_ONE_BY_ONE)
        self._sql = {
            "calls": f"JOIN {calls_at(as_of)} c ON c.call_id = t.call_id",
            "conditions": " AND ".join(conditions),
        }
        self._parameters: Json = {
            **parameters,
            "pattern": self._pattern,
            "as_of": as_of,
            "position": last_counted(as_of),
            "walked": WALKED,
            "era_bits": ERA_BITS,
        }

    async def newest(self, before: int, calls: int, texts: int) -> list[Row]:
        """Texts of the newest calls requested before a position, at most so many, newest first."""
        row = await self._reader.row(KNOWN, {})
        known = -1 if row is None else row["known"]
        parameters = {**self._parameters, "before": min(before, known + 1), "texts": texts}
        rows = await self._reader.rows(NEWEST.format(**self._sql), parameters, planned="anew")
        if len({row["call_id"] for row in rows}) >= calls:
            return rows
        return await self._reader.rows(IN_ERAS.format(**self._sql), parameters, planned="anew")

    def places(self, text: str) -> list[tuple[int, int]]:
        """[begin, end) of each place in a text where it stands."""
        return [found.span() for found in re.finditer(re.escape(self._text), text, re.IGNORECASE)]


async def pages_of_substring(
    reader: Reader, wanted: CallSearch, position: int, calls: int
) -> AsyncIterator[list[UUID]]:
    """Calls with such a text as of a position, in the order of the log, at most so many at once; the part is minded."""
    parameters = {"pattern": pattern_of(wanted), "part": wanted.part, "position": position, "era_bits": ERA_BITS}
    after = -1
    while rows := await reader.rows(FROM_OLDEST, {**parameters, "after": after, "limit": calls}, planned="anew"):
        yield [row["call_id"] for row in rows]
        if len(rows) < calls:
            return
        after = rows[-1]["call_position"]


def check_substrings(wanted: CallSearch, *, there: bool) -> None:
    """Raises Rejected for a way of matching that is unknown, or not to be had where there is no pg_trgm."""
    if wanted.match not in ("words", "substring"):
        raise Rejected(f"{wanted.match!r} is no way to match; use words or substring", fields=("match",))
    if wanted.match == "substring" and not there:
        raise Rejected(MISSING, fields=("match",))


def pattern_of(wanted: CallSearch) -> str:
    """As LIKE takes it. Raises Rejected for what is too short or too long, an order by rank and an unknown part."""
    text = wanted.search
    if len(text) > MOST_CHARACTERS:
        raise Rejected(f"A search has at most {MOST_CHARACTERS:,} characters, not {len(text):,}", fields=("q",))
    if not re.search(r"[^\W_]{3}", text):
        raise Rejected(
            f"{text[:40]!r} has no three letters or digits in a row, by which parts of words are looked up",
            fields=("q",),
        )
    if wanted.part is not None and wanted.part not in PARTS:
        raise Rejected(f"{wanted.part!r} is no part; use one of {', '.join(PARTS)}", fields=("part",))
    if wanted.order != "newest":
        raise Rejected("What is found by parts of words comes newest first, not by rank", fields=("order",))
    return "%" + re.sub(r"([\\%_])", r"\\\1", folded(text)) + "%"
