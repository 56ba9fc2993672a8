"""A search as each era of the log is asked for it: its words and tags with the letters of that era before them."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from domain.errors import Rejected
from projections.call_queries import CallFilter
from projections.search import ANY, letters_of, quoted, tags_of
from projections.search_query import SearchQuery, parsed

Order = Literal["newest", "rank"]
PARTS = ("prompt", "answer")

# Where the times lie in the log, as near as it is known: in their order, calls may be asked one before the other.
BOUNDS = """
    SELECT (SELECT max(s.stretch) FROM projections.search_stretches s
            WHERE %(until)s::timestamptz IS NULL OR s.first_at < %(until)s) AS last,
        (SELECT min(s.stretch) FROM projections.search_stretches s
            WHERE %(since)s::timestamptz IS NULL OR s.last_at >= %(since)s) AS first
"""
ASKED = """
    SELECT a.era, a.query::tsquery AS query, a.terms::tsquery AS terms
    FROM unnest(%(eras)s::bigint[], %(queries)s::text[], %(all_terms)s::text[]) AS a (era, query, terms)
"""


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


class AskedOfEras(NamedTuple):
    """What is searched for, and the tags that a text must have beside it."""

    query: SearchQuery
    tags: Sequence[str]

    def of(self, era: int) -> tuple[str, str]:
        """What the index is asked for in an era, and by which of it texts are ranked, as tsqueries."""
        letters = letters_of(era)
        tags = [quoted(letters + tag) for tag in self.tags]
        return " & ".join([f"({self.query.tsquery(letters)})", *tags]), self.query.wanted().tsquery(letters)

    def parameters(self, eras: Sequence[int]) -> dict[str, Any]:
        """Those of ASKED, for some eras."""
        asked = [self.of(era) for era in eras]
        return {
            "eras": list(eras),
            "queries": [query for query, _ in asked],
            "all_terms": [terms for _, terms in asked],
        }


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
