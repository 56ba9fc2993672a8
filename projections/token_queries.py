"""Questions about tokens, as they stood at a position."""

from projections.paging import FIRST_PAGE, LATEST, Page, Paging, last_counted, page_of
from projections.reading import Reader, Row, in_json

TOKENS = """
    SELECT t.token_id, t.name, t.scope,
        CASE WHEN t.revoked_position <= %(position)s THEN 'revoked' ELSE 'issued' END AS status,
        t.expires_at, t.issued_at, t.issued_by,
        CASE WHEN t.revoked_position <= %(position)s THEN t.revoked_at END AS revoked_at,
        CASE WHEN t.revoked_position <= %(position)s THEN t.revoked_by END AS revoked_by,
        t.issued_position AS position
    FROM projections.tokens t
    WHERE t.issued_position <= %(position)s AND t.issued_position < %(before)s
    ORDER BY t.issued_position DESC LIMIT %(limit)s
"""


class TokenQueries:
    """Asks the table of tokens."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @in_json
    async def tokens(self, *, as_of: int | None = None, page: Paging = FIRST_PAGE) -> Page[Row]:
        """Tokens, newest first, revoked ones too; `status` is issued or revoked."""
        before = page.after((LATEST,), as_of, tuple[int])[0]
        rows = await self._reader.rows(TOKENS, {"position": last_counted(as_of), "before": before, "limit": page.rows})
        return page_of(rows, page.limit, as_of, lambda row: (row["position"],))
