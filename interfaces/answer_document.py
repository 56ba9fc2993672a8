"""An answer as JSON, the same on every face."""

from typing import Any
from uuid import UUID

from msgspec import Struct, structs, to_builtins

from application.ask_model import Answer
from application.batches import BatchItem, Outcome
from domain.pricing import plain


class TokenCounts(Struct, frozen=True, kw_only=True):
    """Tokens as the provider counted them; null where it did not."""

    prompt: int | None
    completion: int | None
    total: int | None
    cached: int | None


class CallAnswer(Struct, frozen=True, kw_only=True):
    """A call with its answer, which is durable at `position`.

    shared_with: the call under way that was joined, whose answer this is. cached: an earlier answer was given again.
    cost: USD, 0 for an answer that another's call paid for, null where it is unknown. saved: what that call cost.
    """

    call_id: UUID
    status: str
    text: str | None
    provider: str
    model: str
    tokens: TokenCounts
    latency_ms: float
    attempts: int
    first_token_ms: float | None
    tokens_per_second: float | None
    finish_reason: str | None
    position: int | None
    cost: str | None = None
    saved: str | None = None
    shared_with: UUID | None = None
    cached: bool = False


class CallUnanswered(Struct, frozen=True, kw_only=True):
    """One of several that has no answer: `failed`, as recorded under its call_id, or `rejected` before it was asked."""

    call_id: UUID | None
    status: str
    text: None
    error: str


def outcome_document(outcome: Outcome) -> CallAnswer | CallUnanswered:
    """What came of one of several questions."""
    if isinstance(outcome, Answer):
        return answer_document(outcome)
    return CallUnanswered(call_id=outcome.call_id, status=outcome.status, text=None, error=outcome.error)


def item_document(item: BatchItem) -> dict[str, Any]:
    """An item of a batch: which question and sample it is, and what came of it."""
    outcome: dict[str, Any] = to_builtins(outcome_document(item.outcome))
    return {"index": item.index, "sample": item.sample, **outcome}


def answer_document(answer: Answer) -> CallAnswer:
    """An answer with all four token counts, null where the provider said nothing."""
    known = {name: value for name, value in structs.asdict(answer).items() if name in CallAnswer.__struct_fields__}
    tokens = answer.tokens
    counts = TokenCounts(prompt=tokens.prompt, completion=tokens.completion, total=tokens.total, cached=tokens.cached)
    return CallAnswer(**{**known, "tokens": counts, "cost": plain(answer.cost), "saved": plain(answer.saved)})
