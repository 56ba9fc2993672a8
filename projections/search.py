"""Every prompt and every answer by its words: the one read model that reads what was asked and answered.

A row is a text, written once and never changed: a prompt shows from the position of its request, an answer from its
own, which is all that a search as of a position needs. Bodies never change, so a rebuild gives the same rows.

The log is cut into eras, and a word is indexed as the letters of its call's era and itself: what the index is asked
for in an era is read out of that era's entries alone, however frequent the word is in others, so that a search goes
from the newest back. Beside words stand tags that no word can be: provider, model and modality, so that a frequent word
of a rare model is found at once, and the era alone, for searches that only say what a text is without.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg

from domain.calls import CallAnswered, CallRequested, text_at
from domain.events import PayloadRef, RecordedEvent
from projections.read_model import ReadModel, Step, Table, View, text_value
from projections.vector_blocks import chunks
from projections.words import words_of

ERA_BITS = 15  # an era is 32,768 positions, about as many texts: the most that a frequent word is looked up at once
STRETCH_BITS = 10  # of so many positions it is known when their calls were asked
MOST_CHARACTERS = 64_000  # of a text that are indexed; a tsvector holds 1 MB
MOST_BYTES = 600_000  # of a tsvector as text, which it exceeds by less than the rest of that megabyte
BETWEEN_PIECES = 2  # positions left free between messages, so that no phrase goes from one to the next
LONGEST_TAG = 200
ANY = "/"  # the tag of every text

TEXTS = Table(
    name="searched_texts",
    columns={
        "call_id": "uuid NOT NULL",
        "part": "text NOT NULL",  # prompt or answer
        "call_position": "bigint NOT NULL",  # of the request: the order in which calls are listed
        "position": "bigint NOT NULL",  # from which the text shows
        "cut": "boolean NOT NULL",  # whether words at its end are left out
        "tags": "text NOT NULL",
        "words": "tsvector NOT NULL",
    },
    key=("call_id", "part"),
    indexes=("(call_position)", "USING gin (words) WITH (fastupdate = off)"),
)

STRETCHES = Table(
    name="search_stretches",
    columns={"stretch": "bigint NOT NULL", "first_at": "timestamptz NOT NULL", "last_at": "timestamptz NOT NULL"},
    key=("stretch",),
)

VIEW = View(
    name="searched_texts",
    select="SELECT t.call_id, t.part, t.cut, t.words, t.position FROM {schema}.searched_texts t",
)

BODIES = """
    SELECT p.originator_id, p.originator_version, p.body
    FROM unnest(%b::uuid[], %b::bigint[], %b::text[]) AS wanted (call_id, version, part)
    JOIN events.payloads p ON p.originator_id = wanted.call_id AND p.originator_version = wanted.version
        AND p.part = wanted.part
"""
ASKED = """
    SELECT call_id, call_position, tags FROM {schema}.searched_texts
    WHERE call_id = ANY (%b::uuid[]) AND part = 'prompt'
"""
INSERT = """
    INSERT INTO {schema}.searched_texts (call_id, part, call_position, position, cut, tags, words)
    SELECT f.call_id, f.part, f.call_position, f.position, f.cut, f.tags, f.words::tsvector
    FROM unnest(%b::uuid[], %b::text[], %b::bigint[], %b::bigint[], %b::boolean[], %b::text[], %b::text[])
        AS f (call_id, part, call_position, position, cut, tags, words)
"""
STRETCH = """
    INSERT INTO {schema}.search_stretches AS s (stretch, first_at, last_at)
    SELECT f.stretch, min(f.at), max(f.at) FROM unnest(%b::bigint[], %b::timestamptz[]) AS f (stretch, at)
    GROUP BY f.stretch
    ON CONFLICT (stretch) DO UPDATE
    SET first_at = least(s.first_at, excluded.first_at), last_at = greatest(s.last_at, excluded.last_at)
"""


class Text(NamedTuple):
    """A prompt or an answer that is to be indexed; of an answer, tags and call_position are looked up."""

    call_id: UUID
    version: int
    position: int
    body: PayloadRef
    text_path: Sequence[str] | None = None
    tags: str = ""
    at: datetime | None = None

    @property
    def part(self) -> str:
        """Which text of its call it is: only a request knows when that was made."""
        return "answer" if self.at is None else "prompt"


class IndexTexts(NamedTuple):
    """Reads the bodies of texts out of the log, and writes their words."""

    texts: list[Text]

    def apply(self, cursor: psycopg.Cursor[Any], schema: str) -> None:
        """Some megabytes at a time."""
        asked = {each.call_id: (each.position, each.tags) for each in self.texts if each.at is not None}
        earlier = [each.call_id for each in self.texts if each.call_id not in asked]
        if earlier:
            cursor.execute(_in(ASKED, schema), (earlier,))
            asked |= {call_id: (position, tags) for call_id, position, tags in cursor.fetchall()}
        for chunk in chunks(self.texts, [each.body.size for each in self.texts]):
            cursor.execute(BODIES, _columns((each.call_id, each.version, text_value(each.body.part)) for each in chunk))
            bodies = {(call_id, version): body for call_id, version, body in cursor.fetchall()}
            rows = [
                _row(each, bodies.get((each.call_id, each.version)), *asked[each.call_id])
                for each in chunk
                if each.call_id in asked  # an answer that nobody asked for stands in no list of calls
            ]
            cursor.execute(_in(INSERT, schema), _columns(rows))
        times = [(each.position >> STRETCH_BITS, each.at) for each in self.texts if each.at is not None]
        if times:
            cursor.execute(_in(STRETCH, schema), _columns(times))


def changes(events: Sequence[RecordedEvent]) -> list[Step]:
    """A prompt for each request, and an answer for each that is JSON; vectors have no words."""
    texts = texts_of(events)
    return [IndexTexts(texts)] if texts else []


def texts_of(events: Sequence[RecordedEvent]) -> list[Text]:
    """The prompts and answers of events."""
    texts: list[Text] = []
    for event in events:
        fact, place = event.fact, (event.stream_id, event.version, event.position)
        if isinstance(fact, CallRequested):
            letters = letters_of(event.position >> ERA_BITS)
            tags = " ".join(quoted(letters + tag) for tag in (ANY, *tags_of(fact.provider, fact.model, fact.modality)))
            texts.append(Text(*place, fact.request, tags=tags, at=event.envelope.occurred_at))
        elif isinstance(fact, CallAnswered) and fact.vectors is None:
            texts.append(Text(*place, fact.completion or fact.response, fact.text_path))
    return texts


def tags_of(provider: str | None, model: str | None, modality: str | None) -> list[str]:
    """What stands beside the words of a call's texts; None leaves one out."""
    named = (("provider", provider), ("model", model), ("modality", modality))
    return [f"/{name}/{text_value(value)[:LONGEST_TAG]}" for name, value in named if value is not None]


@lru_cache(maxsize=1024)
def letters_of(era: int) -> str:
    """What stands before the words of an era's texts: capital letters, as no word has."""
    letters = ""
    while era or not letters:
        era, letter = divmod(era, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def quoted(lexeme: str) -> str:
    """A lexeme as tsvector and tsquery are written."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


def prompt_pieces(request: Any) -> list[str]:
    """The texts of a request: its messages, or its prompt, or the texts to embed."""
    if not isinstance(request, dict):
        return []
    messages = request.get("messages")
    pieces = [piece for each in messages for piece in _message(each)] if isinstance(messages, list) else []
    for name in ("prompt", "input"):
        asked = request.get(name)
        pieces += [each for each in (asked if isinstance(asked, list) else [asked]) if isinstance(each, str)]
    return pieces


def answer_pieces(response: Any, text_path: Sequence[str] | None) -> list[str]:
    """The texts of an answer: of each choice, or the one text that the provider is known to answer with."""
    choices = response.get("choices") if isinstance(response, dict) else None
    if isinstance(choices, list):
        found = [piece for each in choices if isinstance(each, dict) for piece in _message(each.get("message"))]
        if found:
            return found
    text = None if text_path is None else text_at(response, text_path)
    return [] if text is None else [text]


def pieces_of(part: str, body: bytes | None, text_path: Sequence[str] | None) -> list[str]:
    """The texts in a body; none where it is no JSON."""
    try:
        document = None if body is None else msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return prompt_pieces(document) if part == "prompt" else answer_pieces(document, text_path)


def bounded(pieces: list[str]) -> tuple[list[str], bool]:
    """As much of the texts as is indexed, and whether that is less than all."""
    left, kept = MOST_CHARACTERS, []
    for piece in pieces:
        kept.append(piece[:left])
        left -= len(piece)
        if left < 0:
            return kept, True
    return kept, False


def _message(message: Any) -> Iterator[str]:
    """What a message says: its text, or the texts of its parts, a refusal, and the tools it calls."""
    if not isinstance(message, dict):
        return
    content = message.get("content")
    for part in content if isinstance(content, list) else [content, message.get("refusal")]:
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str):
            yield text
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield from (each for each in (function.get("name"), function.get("arguments")) if isinstance(each, str))


def _row(text: Text, body: bytes | None, call_position: int, tags: str) -> tuple[Any, ...]:
    pieces, cut = bounded(pieces_of(text.part, body if text.body.is_json else None, text.text_path))
    words: list[str] = []
    letters, place = letters_of(call_position >> ERA_BITS), 1
    for piece in pieces:
        found = words_of(piece)
        words += [f"{letters}{word}:{at}" for at, word in enumerate(found, place)]
        place += len(found) + BETWEEN_PIECES
    while len(written := " ".join(words)) > MOST_BYTES // 4 and len(written.encode()) > MOST_BYTES:
        words, cut = words[: len(words) // 2], True
    return (text.call_id, text.part, call_position, text.position, cut, tags, f"{written} {tags}")


def _columns(rows: Any) -> list[list[Any]]:
    return list(map(list, zip(*rows, strict=True)))


def _in(sql: str, schema: str) -> bytes:
    return sql.replace("{schema}", schema).encode()


SEARCH = ReadModel(
    name="search",
    version=2,
    reads=(CallRequested, CallAnswered),
    tables=(TEXTS, STRETCHES),
    views=(VIEW,),
    changes=changes,
)
