"""A search as each era of the log is asked for it: its words and tags with the letters of that era before them."""

from collections.abc import Sequence
from typing import Any, Literal

from domain.errors import Rejected
from projections.call_queries import CallFilter
from projections.search import ANY, letters_of, quoted, tags_of
from projections.search_query import SearchQuery, parsed

Order = Literal["newest", "rank"]
PARTS = ("prompt", "answer")
_LETTERS = "\0"  # stands where the letters of an era belong: no text that is searched for holds it

# As far as calls are known: what is found of newer ones could not be shown, and would be missing on its page.
KNOWN = "SELECT position AS known FROM projections.generations WHERE name = 'raw_calls' AND state = 'live'"
# Where the times lie in the log, as near as it is known: in their order, calls may be asked one before the other.
BOUNDS = f"""
    SELECT ({KNOWN}) AS known,
        (SELECT max(s.stretch) FROM projections.search_stretches s
            WHERE %(until)s::timestamptz IS NULL OR s.first_at < %(until)s) AS last,
        (SELECT min(s.stretch) FROM projections.search_stretches s
            WHERE %(since)s::timestamptz IS NULL OR s.last_at >= %(since)s) AS first
"""  # noqa: S608 - our own names
# Eras are put in order before what is asked of them is read, as mostly the first ones are enough.
ASKED = """
    SELECT a.era, array_to_string(%(query)s::text[], a.letters)::tsquery AS query,
        array_to_string(%(terms)s::text[], a.letters)::tsquery AS terms
    FROM (
        SELECT * FROM (
            SELECT %(first_era)s + e.place - 1 AS era, e.letters
            FROM unnest(%(letters)s::text[]) WITH ORDINALITY AS e (letters, place)
        ) AS e {where} ORDER BY e.era {order} OFFSET 0
    ) AS a
"""
NEWEST_FIRST = ASKED.format(where="", order="DESC")
OLDEST_FIRST = ASKED.format(where="", order="ASC")


class CallSearch(CallFilter, frozen=True, kw_only=True):
    """Which calls are searched for: those that pass the filters and have a text that fulfils the search.

    search: words, "words in a row", -without, one OR other, beginning*; in prompt or answer, all in the same text
    part: only in prompts, or only in answers
    order: newest first, or by rank among the newest 1,000 texts that match
    match: words; or substring, the search as it stands but for case, also inside words
    """

    search: str
    part: Literal["prompt", "answer"] | None = None
    order: Order = "newest"
    match: Literal["words", "substring"] = "words"


class AskedOfEras:
    """What is searched for, and the tags that a text must have beside it: written once, for there may be many eras."""

    def __init__(self, query: SearchQuery, tags: Sequence[str]) -> None:
        self.query = query
        needed = [f"({query.tsquery(_LETTERS)})", *(quoted(_LETTERS + tag) for tag in tags)]
        self._query = " & ".join(needed).split(_LETTERS)
        self._terms = query.wanted().tsquery(_LETTERS).split(_LETTERS)

    def of(self, era: int) -> tuple[str, str]:
        """What the index is asked for in an era, and by which of it texts are ranked, as tsqueries."""
        letters = letters_of(era)
        return letters.join(self._query), letters.join(self._terms)

    def parameters(self, eras: range) -> dict[str, Any]:
        """Those of ASKED, for some eras."""
        letters = f"{{{','.join(map(letters_of, eras))}}}"  # as text: a list would take longer to be written
        return {"first_era": eras.start, "letters": letters, "query": self._query, "terms": self._terms}


def asked_of_eras(wanted: CallSearch) -> AskedOfEras:
    """Raises Rejected for a search without a word or too long, an unknown part and an unknown order."""
    if wanted.part is not None and wanted.part not in PARTS:
        raise Rejected(f"{wanted.part!r} is no part; use one of {', '.join(PARTS)}", fields=("part",))
    if wanted.order not in ("newest", "rank"):
        raise Rejected(f"{wanted.order!r} is no order; use newest or rank", fields=("order",))
    query = parsed(wanted.search)
    provider = None if wanted.provider is None else wanted.provider.lower()
    tags = tags_of(provider, wanted.model, wanted.modality)
    return AskedOfEras(query, [*tags, ANY] if query.only_without else tags)
