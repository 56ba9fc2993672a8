"""A batch as JSON, the same on every face."""

from typing import Any

from msgspec import Struct

from application.batches import AnsweredBatch
from domain.pricing import plain
from interfaces.answer_document import item_document


class BatchSummary(Struct, frozen=True, kw_only=True):
    """What a batch came to; all of it is durable at `position`.

    cost: USD for all answers whose cost is known, null where none is; saved: what answers had cost that were not paid
    for again. cost_unknown, saved_unknown: of how many answers it isn't known. What failed is in none of them.
    """

    group_id: str
    name: str
    unanswered: int
    position: int | None
    cost: str | None
    cost_unknown: int
    saved: str | None
    saved_unknown: int


class BatchAnswer(BatchSummary, frozen=True, kw_only=True):
    """What came of every sample of every question, in order.

    items: {index, sample} of the question, and the members of a call's answer; or its status and `error`
    """

    items: list[dict[str, Any]]


def batch_summary(answered: AnsweredBatch) -> BatchSummary:
    """The batch without its items."""
    return BatchSummary(**_summed_up(answered))


def batch_document(answered: AnsweredBatch) -> BatchAnswer:
    """The batch with its items."""
    return BatchAnswer(**_summed_up(answered), items=[item_document(item) for item in answered.items])


def _summed_up(answered: AnsweredBatch) -> dict[str, Any]:
    cost, saved = answered.cost, answered.saved
    return {
        "group_id": str(answered.group_id),
        "name": answered.name,
        "unanswered": len(answered.unanswered),
        "position": answered.position,
        "cost": plain(cost.usd),
        "cost_unknown": cost.unknown,
        "saved": plain(saved.usd),
        "saved_unknown": saved.unknown,
    }
