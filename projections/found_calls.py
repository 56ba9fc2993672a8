"""All calls that a search finds, from the oldest on, some thousands at a time.

Each era of the log is asked by itself, so that a page is read out of the entries that it needs, and nothing is held
open between pages.
"""

from collections.abc import AsyncIterator
from uuid import UUID

from projections.reading import Reader
from projections.search import ERA_BITS, STRETCH_BITS
from projections.search_eras import BOUNDS, OLDEST_FIRST, CallSearch, asked_of_eras
from projections.substring_queries import check_substrings, pages_of_substring, pattern_of

# The sum keeps the planner from walking by position, which only pays for frequent words.
IN_ERAS = f"""
    SELECT f.call_id, f.call_position FROM ({OLDEST_FIRST}) AS a CROSS JOIN LATERAL (
        SELECT t.call_id, t.call_position FROM projections.searched_texts t
        WHERE t.words @@ a.query AND t.call_position + 0 > %(after)s AND t.position <= %(position)s
            AND (%(part)s::text IS NULL OR t.part = %(part)s)
        GROUP BY t.call_id, t.call_position ORDER BY t.call_position LIMIT %(limit)s
    ) f ORDER BY a.era, f.call_position LIMIT %(limit)s
"""  # noqa: S608 - our own names


def check_search(wanted: CallSearch, *, substrings: bool) -> None:
    """Raises Rejected for what can't be searched for."""
    check_substrings(wanted, there=substrings)
    if wanted.match == "substring":
        pattern_of(wanted)
    else:
        asked_of_eras(wanted)


def found_pages(reader: Reader, wanted: CallSearch, position: int, calls: int) -> AsyncIterator[list[UUID]]:
    """Calls with such a text as of a position, in the order of the log, at most so many at once.

    Of the filters, the part is minded, and of words provider, model and modality; there may be more than pass the rest.
    """
    pages = pages_of_substring if wanted.match == "substring" else _pages_of_words
    return pages(reader, wanted, position, calls)


async def _pages_of_words(reader: Reader, wanted: CallSearch, position: int, calls: int) -> AsyncIterator[list[UUID]]:
    asked = asked_of_eras(wanted)
    parameters = {"part": wanted.part, "since": wanted.since, "until": wanted.until, "position": position}
    bounds = await reader.row(BOUNDS, parameters)
    if bounds is None or bounds["first"] is None or bounds["last"] is None:
        return
    after, last = (bounds["first"] << STRETCH_BITS) - 1, ((bounds["last"] + 1) << STRETCH_BITS) - 1
    while after < last:
        eras = range((after + 1) >> ERA_BITS, (last >> ERA_BITS) + 1)
        of_eras = {**parameters, **asked.parameters(eras), "after": after, "limit": calls}
        rows = await reader.rows(IN_ERAS, of_eras, planned="anew")
        if rows:
            yield [row["call_id"] for row in rows]
        if len(rows) < calls:
            return
        after = rows[-1]["call_position"]
