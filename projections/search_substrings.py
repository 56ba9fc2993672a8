"""Every prompt and every answer itself, for searches by parts of words: where the server has pg_trgm.

The one place where texts are copied. A row is a text, written once and never changed, as those of the index of words.
The era of a call stands beside the text in one index, so that it is looked for in one era after another.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from domain.calls import CallAnswered, CallRequested
from domain.events import RecordedEvent
from projections.read_model import ReadModel, Step, Table, text_value
from projections.search import BODIES, ERA_BITS, Text, bounded, pieces_of, texts_of
from projections.vector_blocks import chunks

BETWEEN_PIECES = "\n\x1f\n"  # between messages, which no search has

TEXTS = Table(
    name="substring_texts",
    columns={
        "call_id": "uuid NOT NULL",
        "part": "text NOT NULL",  # prompt or answer
        "call_position": "bigint NOT NULL",  # of the request
        "position": "bigint NOT NULL",  # from which the text shows
        "era": "int[] NOT NULL",  # the one of the call, as GIN takes it
        "folded": "text NOT NULL",
    },
    key=("call_id", "part"),
    indexes=("(call_position)", "USING gin (era, folded gin_trgm_ops) WITH (fastupdate = off)"),
)

ASKED = (
    "SELECT call_id, call_position FROM {schema}.substring_texts WHERE call_id = ANY (%b::uuid[]) AND part = 'prompt'"
)
INSERT = """
    INSERT INTO {schema}.substring_texts (call_id, part, call_position, position, era, folded)
    SELECT f.call_id, f.part, f.call_position, f.position, ARRAY[f.era], f.folded
    FROM unnest(%b::uuid[], %b::text[], %b::bigint[], %b::bigint[], %b::int[], %b::text[])
        AS f (call_id, part, call_position, position, era, folded)
"""


class CopyTexts(NamedTuple):
    """Reads the bodies of texts out of the log, and copies what they say."""

    texts: list[Text]

    def apply(self, cursor: psycopg.Cursor[Any], schema: str) -> None:
        """Some megabytes at a time."""
        asked = {each.call_id: each.position for each in self.texts if each.part == "prompt"}
        cursor.execute(_in(ASKED, schema), ([each.call_id for each in self.texts if each.call_id not in asked],))
        asked |= dict(cursor.fetchall())
        for chunk in chunks(self.texts, [each.body.size for each in self.texts]):
            places = [(each.call_id, each.version, text_value(each.body.part)) for each in chunk]
            cursor.execute(BODIES, list(map(list, zip(*places, strict=True))))
            bodies = {(call_id, version): body for call_id, version, body in cursor.fetchall()}
            rows = [
                _row(each, bodies.get((each.call_id, each.version)), asked[each.call_id])
                for each in chunk
                if each.call_id in asked  # an answer that nobody asked for stands in no list of calls
            ]
            if rows:
                cursor.execute(_in(INSERT, schema), list(map(list, zip(*rows, strict=True))))


def changes(events: Sequence[RecordedEvent]) -> list[Step]:
    """A prompt for each request, and an answer for each that is JSON."""
    texts = texts_of(events)
    return [CopyTexts(texts)] if texts else []


def folded(text: str) -> str:
    """The form in which texts are compared: without case, as Postgres can hold it."""
    return text_value(text.casefold())


def has_pg_trgm(connection: psycopg.Connection[Any]) -> bool:
    """Whether pg_trgm is in the database, and its operators can be named."""
    with connection.transaction():
        found = connection.execute(
            "SELECT FROM pg_opclass WHERE opcname = 'gin_trgm_ops' AND pg_opclass_is_visible(oid)"
        ).fetchone()
    return found is not None


def _row(text: Text, body: bytes | None, call_position: int) -> tuple[UUID, str, int, int, int, str]:
    pieces, _ = bounded(pieces_of(text.part, body if text.body.is_json else None, text.text_path))
    said = folded(BETWEEN_PIECES.join(pieces))
    return (text.call_id, text.part, call_position, text.position, call_position >> ERA_BITS, said)


def _in(sql: str, schema: str) -> bytes:
    return sql.replace("{schema}", schema).encode()


SEARCH_SUBSTRINGS = ReadModel(
    name="search_substrings",
    version=1,
    reads=(CallRequested, CallAnswered),
    tables=(TEXTS,),
    views=(),
    changes=changes,
)
