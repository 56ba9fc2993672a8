"""Batches: what is asked in one go, and what comes of it."""

from typing import Any, Literal
from uuid import UUID

from msgspec import Struct, structs

from application.ask_model import MOST_SAMPLES, Answer, Question
from application.group_calls import GroupPlace
from domain.errors import Rejected
from domain.events import Metadata
from domain.pricing import Total, total_of

GROUP_TYPE = "batch"
MOST_ANSWERS = 100_000
MOST_IN_FLIGHT = 1_000
LONGEST_SOURCE_NAME = 200


class BatchToAsk(Struct, frozen=True, kw_only=True):
    """What to ask. A question for n samples is asked n times.

    name: of the batch's group; made of the requests when it isn't given
    source_name: where the questions come from, such as a file's name
    again: ask also what this batch was answered before
    group_type, metadata: of the batch's group
    """

    questions: tuple[Question, ...]
    name: str | None = None
    source_name: str = ""
    in_flight: int = 16
    again: bool = False
    group_type: str = GROUP_TYPE
    metadata: Metadata = {}


def batch_of(
    questions: tuple[Question, ...], group: GroupPlace | None, *, group_type: str = GROUP_TYPE, **how: Any
) -> BatchToAsk:
    """A batch in a group: one of the batch's type names it; of another type, its calls join that group as well.

    A question that names a group of its own keeps it. how: BatchToAsk's other fields
    """
    name = None
    if group is not None and group.group_type == group_type:
        name = group.name
    elif group is not None:
        questions = tuple(structs.replace(each, group=each.group or group) for each in questions)
    return BatchToAsk(questions=questions, name=name, group_type=group_type, **how)


class Unanswered(Struct, frozen=True, kw_only=True):
    """Why there is no answer; `call_id` tells where a provider's failure is recorded."""

    status: Literal["failed", "rejected"]
    error: str
    call_id: UUID | None = None


Outcome = Answer | Unanswered


class BatchItem(Struct, frozen=True, kw_only=True):
    """What came of one sample of one question; index: the question's place in the batch, from 0."""

    index: int
    sample: int
    outcome: Outcome


class AnsweredBatch(Struct, frozen=True, kw_only=True):
    """Every item in the order of the questions. position: where all of it is stored, None while some of it waits."""

    group_id: UUID
    name: str
    items: tuple[BatchItem, ...]
    position: int | None

    @property
    def unanswered(self) -> list[Unanswered]:
        """What has no answer, in order."""
        return [item.outcome for item in self.items if isinstance(item.outcome, Unanswered)]

    @property
    def answers(self) -> list[Answer]:
        """The answers there are, in order."""
        return [item.outcome for item in self.items if isinstance(item.outcome, Answer)]

    @property
    def cost(self) -> Total:
        """What the answers cost: nothing, where they were given before."""
        return total_of(answer.cost for answer in self.answers)

    @property
    def saved(self) -> Total:
        """What the answers had cost that another call paid for."""
        return total_of(answer.saved for answer in self.answers if answer.cached or answer.shared_with is not None)


def checked(batch: BatchToAsk) -> None:
    """Raises Rejected for what is no batch."""
    if not batch.questions:
        raise Rejected("The batch has no question", fields=("questions",))
    asked = sum(max(1, min(question.samples, MOST_SAMPLES)) for question in batch.questions)
    if asked > MOST_ANSWERS:
        raise Rejected(
            f"A batch asks for at most {MOST_ANSWERS:,} answers, not {asked:,}: divide it", fields=("questions",)
        )
    if not 1 <= batch.in_flight <= MOST_IN_FLIGHT:
        raise Rejected(
            f"in_flight must lie between 1 and {MOST_IN_FLIGHT}, not {batch.in_flight}", fields=("in_flight",)
        )
