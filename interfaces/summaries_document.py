"""Summaries as JSON, the same on every face."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct, to_builtins

from application.summarise_texts import Summarised, Summary
from domain.pricing import plain


class SummaryItem(Struct, frozen=True, kw_only=True):
    """What came of one item. Where it fell back, `summary` is the item's first text, and `status` and `reason` say why.

    status: success, failed (see the call), rejected (never asked), refused or empty (answered with nothing of use)
    cached: it was answered before, or by another's call, and cost nothing
    """

    index: int
    summary: str
    status: str
    fell_back: bool
    call_id: UUID | None
    reason: str | None
    cached: bool


class SummariesAnswer(Struct, frozen=True, kw_only=True):
    """A summary for each item, in order; all of it is durable at `position`.

    fell_back: how many have none. cost: USD for all answers whose cost is known, null where none is; saved: what
    answers had cost that were not paid for again; cost_unknown, saved_unknown: of how many answers it isn't known
    """

    items: list[SummaryItem]
    group_id: UUID
    name: str
    fell_back: int
    position: int | None
    cost: str | None
    cost_unknown: int
    saved: str | None
    saved_unknown: int


def summaries_answer(done: Summarised) -> SummariesAnswer:
    """Everything that is known of them."""
    return SummariesAnswer(
        items=[summary_item(index, summary) for index, summary in enumerate(done.summaries)],
        group_id=done.group_id,
        name=done.name,
        fell_back=len(done.fell_back),
        position=done.position,
        cost=plain(done.cost.usd),
        cost_unknown=done.cost.unknown,
        saved=plain(done.saved.usd),
        saved_unknown=done.saved.unknown,
    )


def summary_item(index: int, summary: Summary) -> SummaryItem:
    """One of them."""
    return SummaryItem(
        index=index,
        summary=summary.text,
        status=summary.status,
        fell_back=summary.fell_back,
        call_id=summary.call_id,
        reason=summary.reason,
        cached=summary.cached,
    )


def summaries_document(done: Summarised, keys: Sequence[str] | None = None) -> dict[str, Any]:
    """The same as plain JSON; keys: what each item goes by, such as the value that its texts share."""
    document: dict[str, Any] = to_builtins(summaries_answer(done))
    if keys is not None:
        document["items"] = [{"key": key, **item} for key, item in zip(keys, document["items"], strict=True)]
    return {**document, "next_cursor": None}
