"""All calls that a search finds, from the oldest on, some thousands at a time.

Each era of the log is asked by itself, so that a page is read out of the entries that it needs, and nothing is held
open between pages.
"""

from collections.abc import AsyncIterator
from uuid import UUID

from projections.reading import Reader
from projections.search import ERA_BITS, STRETCH_BITS
from projections.search_eras import ASKED, BOUNDS, CallSearch, asked_of_eras

# The sum keeps the planner from walking by position, which only pays for frequent words.
IN_ERAS = f"""
    SELECT f.call_id, f.call_position FROM ({ASKED}) AS a CROSS JOIN LATERAL (
        SELECT t.call_id, t.call_position FROM projections.searched_texts t
        WHERE t.words @@ a.query AND t.call_position + 0 > %(after)s AND t.position <= %(position)s
            AND (%(part)s::text IS NULL OR t.part = %(part)s)
        GROUP BY t.call_id, t.call_position ORDER BY t.call_position LIMIT %(limit)s
    ) f ORDER BY a.era, f.call_position LIMIT %(limit)s
"""  # noqa: S608 - our own names


class FoundCalls:
    """One search, as of a position. Raises Rejected for what can't be searched for."""

    def __init__(self, reader: Reader, wanted: CallSearch, position: int) -> None:
        self._reader = reader
        self._asked = asked_of_eras(wanted)
        self._parameters = {
            "part": wanted.part,
            "since": wanted.since,
            "until": wanted.until,
            "position": position,
        }

    async def pages(self, calls: int) -> AsyncIterator[list[UUID]]:
        """Calls with such a text, in the order of the log, at most so many at once.

        Of the filters, provider, model, modality and part are minded; of times, more may come than lie between them.
        """
        bounds = await self._reader.row(BOUNDS, self._parameters)
        if bounds is None or bounds["first"] is None or bounds["last"] is None:
            return
        after, last = (bounds["first"] << STRETCH_BITS) - 1, ((bounds["last"] + 1) << STRETCH_BITS) - 1
        while after < last:
            eras = range((after + 1) >> ERA_BITS, (last >> ERA_BITS) + 1)
            rows = await self._reader.rows(
                IN_ERAS,
                {**self._parameters, **self._asked.parameters(eras), "after": after, "limit": calls},
                planned_anew=True,
            )
            if rows:
                yield [row["call_id"] for row in rows]
            if len(rows) < calls:
                return
            after = rows[-1]["call_position"]
