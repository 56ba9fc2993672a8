"""A turn of a conversation as JSON, the same on every face."""

from uuid import UUID

from msgspec import structs

from application.continue_conversation import TakenTurn
from interfaces.answer_document import CallAnswer, answer_document


class TurnAnswer(CallAnswer, frozen=True, kw_only=True):
    """A turn with its answer, which is durable at `position`.

    dropped_turns: the numbers of the turns that were not sent, to keep within the budget of tokens
    """

    conversation_id: UUID
    turn: int
    dropped_turns: list[int]
    budget_tokens: int | None
    prompt_tokens_estimated: int | None
    counted_by: str | None


def turn_document(turn: TakenTurn) -> TurnAnswer:
    """The answer's document, and which turn it is."""
    answer = structs.asdict(answer_document(turn.answer))
    return TurnAnswer(
        **{
            **answer,
            "position": turn.position,
            "conversation_id": turn.conversation_id,
            "turn": turn.turn,
            "dropped_turns": list(range(1, turn.dropped_turns + 1)),
            "budget_tokens": turn.budget_tokens,
            "prompt_tokens_estimated": turn.prompt_tokens_estimated,
            "counted_by": turn.counted_by,
        }
    )
