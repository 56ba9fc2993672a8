"""Questions about conversations, as they stood at a position."""

from typing import Any
from uuid import UUID

import msgspec

from domain.errors import NotFound, Rejected
from projections.paging import FIRST_PAGE, LATEST, Page, Paging, at_position, last_counted, page_of
from projections.reading import Reader, Row, in_json

STATUSES = {
    "open": "coalesce(c.closed_position > %(position)s, true)",
    "closed": "c.closed_position <= %(position)s",
}

ITEMS = """
    SELECT c.conversation_id, coalesce(c.title, first.opening) AS title,
        CASE WHEN c.closed_position <= %(position)s THEN 'closed' ELSE 'open' END AS status,
        c.system, c.provider, c.model, c.temperature, c.max_tokens, c.seed, c.token_budget, c.parent_id, c.at_turn,
        coalesce(last.turn, c.at_turn) AS turns, c.started_at, last.taken_at AS last_turn_at,
        CASE WHEN c.closed_position <= %(position)s THEN c.closed_at END AS closed_at,
        CASE WHEN c.closed_position <= %(position)s THEN c.closed_reason END AS closed_reason,
        c.metadata, c.actor, c.started_position AS position
    FROM projections.conversations c
    LEFT JOIN projections.conversation_turns first ON first.conversation_id = c.conversation_id AND first.turn = 1
        AND first.position <= %(position)s
    LEFT JOIN LATERAL (
        SELECT t.turn, t.taken_at FROM projections.conversation_turns t
        WHERE t.conversation_id = c.conversation_id AND t.position <= %(position)s ORDER BY t.turn DESC LIMIT 1
    ) AS last ON true
    WHERE c.started_position <= %(position)s
"""

# Of each parent the turns count up to which it was forked, and of its parents those up to which the nearer ones were.
TURNS = """
    WITH RECURSIVE line AS (
        SELECT c.conversation_id, c.parent_id, c.at_turn, 2147483647 AS until FROM projections.conversations c
        WHERE c.conversation_id = %(conversation_id)s AND c.started_position <= %(position)s
        UNION ALL
        SELECT c.conversation_id, c.parent_id, c.at_turn, least(line.until, line.at_turn)
        FROM line JOIN projections.conversations c ON c.conversation_id = line.parent_id
    )
    SELECT t.turn, t.conversation_id, t.call_id, t.provider, t.model, t.finish_reason, t.dropped_turns, t.budget_tokens,
        t.prompt_tokens_estimated, t.counted_by, t.taken_at, t.actor, t.position, p.body
    FROM line
    JOIN projections.conversation_turns t ON t.conversation_id = line.conversation_id AND t.turn <= line.until
        AND t.position <= %(position)s
    LEFT JOIN events.payloads p ON p.originator_id = t.conversation_id AND p.originator_version = t.version
        AND p.part = 'messages'
    ORDER BY t.turn
"""


class ConversationQueries:
    """Asks the tables of conversations and turns."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @in_json
    async def conversation(self, conversation_id: UUID, *, as_of: int | None = None) -> Row:
        """One conversation with its `messages` and `history`, a fork's from its parents' first on. Raises NotFound.

        messages: user and assistant in turn, each with its turn and call; `history_length` is how many there are.
        history: each turn, with the numbers of the turns that were not sent with it, in `dropped_turns`
        """
        parameters: dict[str, Any] = {"conversation_id": conversation_id, "position": last_counted(as_of)}
        row = await self._reader.row(f"{ITEMS} AND c.conversation_id = %(conversation_id)s", parameters)
        if row is None:
            raise NotFound(
                f"There is no conversation {conversation_id}{at_position(as_of)}; "
                "`study conversations list` shows the ones there are"
            )
        turns = await self._reader.rows(TURNS, parameters)
        messages = [message for turn in turns for message in _messages(turn)]
        for turn in turns:
            turn["dropped_turns"] = list(range(1, turn["dropped_turns"] + 1))
        return row | {"messages": messages, "history_length": len(messages), "history": turns}

    @in_json
    async def conversations(
        self, *, status: str | None = None, as_of: int | None = None, page: Paging = FIRST_PAGE
    ) -> Page[Row]:
        """Conversations, newest first; `turns` counts a fork's history too. Raises Rejected for an unknown status."""
        if status is not None and status not in STATUSES:
            raise Rejected(f"{status!r} is no status; use one of {', '.join(STATUSES)}", fields=("status",))
        condition = "true" if status is None else STATUSES[status]
        rows = await self._reader.rows(
            f"{ITEMS} AND c.started_position < %(before)s AND {condition} "
            "ORDER BY c.started_position DESC LIMIT %(limit)s",
            {
                "position": last_counted(as_of),
                "before": page.after((LATEST,), as_of, tuple[int])[0],
                "limit": page.rows,
            },
        )
        return page_of(rows, page.limit, as_of, lambda row: (row["position"],))


def _messages(turn: Row) -> list[Row]:
    """What was said in a turn; takes the bytes out of it."""
    body = turn.pop("body")
    about = {"turn": turn["turn"], "call_id": turn["call_id"], "at": turn["taken_at"]}
    return [message | about for message in ([] if body is None else msgspec.json.decode(body, type=list[Row]))]
