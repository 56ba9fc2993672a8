"""Summarise texts through captured calls, many at once; what fails falls back to the representative and says so.

A summary is of one text, or of a list of texts that belong together. The calls form a batch of type
`summarization_batch`: asked again, it pays only for what was not answered yet.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol
from uuid import UUID

import structlog
from msgspec import Struct

from application.ask_batch import AskBatch, Progress
from application.ask_model import Answer, AskModel, Question
from application.batches import MOST_ANSWERS, AnsweredBatch, BatchItem, batch_of
from application.group_calls import GroupPlace
from application.notebook import Context
from domain.errors import Rejected
from domain.events import Metadata
from domain.pricing import Total
from domain.templates import MOST_FILLED_CHARACTERS, TEXTS, checked_template, filled_in

GROUP_TYPE = "summarization_batch"
SUMMARIES_IN_FLIGHT = 8
MOST_TEXTS_OF_A_LIST = 1_000
LONGEST_NAME_CHARACTERS = 80
ONE_TEXT = "Summarise the text in one sentence. Answer with the sentence alone."
SHARED_BY_TEXTS = "Summarise in one sentence what these texts say. Answer with the sentence alone.\n\n{texts}"
NAME_THE_TOPIC = "Name the topic that these texts share, in at most five words. Answer with the name alone.\n\n{texts}"

SummaryStatus = Literal["success", "failed", "rejected", "refused", "empty", "not_embedded"]

log = structlog.get_logger(__name__)


class TextsToSummarise(Struct, frozen=True, kw_only=True):
    """What to summarise and how.

    lists: one summary each; of a single text, or of texts that belong together, the most representative first
    template: what the texts are put into, at {texts}; without one, a sentence that asks for a sentence
    group: of type summarization_batch names the batch, which else goes by its requests; another is joined as well
    again: ask also for what was answered before
    all_listed: put a single text into the template as several are, on a line that begins with a dash
    metadata: is kept with the batch's group
    """

    lists: tuple[tuple[str, ...], ...]
    provider: str | None = None
    model: str | None = None
    template: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    group: GroupPlace | None = None
    source_name: str = ""
    in_flight: int = SUMMARIES_IN_FLIGHT
    again: bool = False
    all_listed: bool = False
    metadata: Metadata = {}


class Summary(Struct, frozen=True, kw_only=True):
    """A list of texts in few words.

    fell_back: there was no summary, and the list's first text, which represents it, stands in; `status` and `reason`
    say why. A callable's summary has no call.
    """

    text: str
    call_id: UUID | None
    fell_back: bool
    status: SummaryStatus = "success"
    reason: str | None = None
    cached: bool = False  # it was answered before, or by another's call


class Summarised(Struct, frozen=True, kw_only=True):
    """A summary for each list, in order. position: where all of it is stored, None while some of it waits."""

    group_id: UUID
    name: str
    summaries: tuple[Summary, ...]
    position: int | None
    cost: Total
    saved: Total

    @property
    def fell_back(self) -> list[Summary]:
        """The summaries that are none."""
        return [summary for summary in self.summaries if summary.fell_back]


class Summarise(Protocol):
    """Whoever makes summaries of lists for others: a model through captured calls, or a function of the caller's."""

    async def __call__(
        self, lists: Sequence[tuple[str, ...]], *, template: str, place: GroupPlace, progress: Progress | None
    ) -> list[Summary]:
        """One summary a list, in order; what fails falls back. place: the group of the calls, if there are any."""


CheckDeployment = Callable[[str | None, str | None, Context], Awaitable[None]]


class SummariseTexts:
    """Summarises."""

    def __init__(self, ask_model: AskModel, ask_batch: AskBatch, check_deployment: CheckDeployment) -> None:
        self._ask_model = ask_model
        self._ask_batch = ask_batch
        self._check_deployment = check_deployment

    async def __call__(
        self, wanted: TextsToSummarise, context: Context, *, progress: Progress | None = None
    ) -> Summarised:
        """Summarise every list. Raises Rejected before anything is asked, also for a deployment that there is not.

        What a provider fails at, or answers with nothing, is no error but a summary that fell back.
        """
        _check(wanted)
        questions = tuple(_question(wanted, texts) for texts in wanted.lists)
        await self._ask_model.intended(questions[0])  # or what is wrong with all would be told once a list
        batch = batch_of(
            questions,
            wanted.group,
            group_type=GROUP_TYPE,
            source_name=wanted.source_name,
            in_flight=wanted.in_flight,
            again=wanted.again,
            metadata={**wanted.metadata, **({} if wanted.template is None else {"template": wanted.template})},
        )
        answered = await self._ask_batch(
            batch,
            context,
            progress=progress,
            before_asking=lambda: self._check_deployment(wanted.provider, wanted.model, context),
        )
        return _summarised(wanted, answered)

    async def check(self, provider: str | None, model: str | None, context: Context) -> None:
        """Raises Rejected when this provider and model can't be asked at all; nothing is summarised yet."""
        await self._ask_model.intended(Question(prompt=NAME_THE_TOPIC, provider=provider, model=model))
        await self._check_deployment(provider, model, context)


def short_name(text: str) -> str:
    """One line of at most 80 characters, without quotation marks around it."""
    line = " ".join(text.split()).strip("\"'“”.")
    return line if len(line) <= LONGEST_NAME_CHARACTERS else line[: LONGEST_NAME_CHARACTERS - 1].rstrip() + "…"


def fallen_back(texts: Sequence[str], status: SummaryStatus, reason: str, call_id: UUID | None = None) -> Summary:
    """The first text in place of a summary, and why."""
    log.warning("a summary failed; the first text stands in", status=status, reason=reason, call_id=str(call_id))
    return Summary(text=texts[0], call_id=call_id, fell_back=True, status=status, reason=reason)


def _summarised(wanted: TextsToSummarise, answered: AnsweredBatch) -> Summarised:
    return Summarised(
        group_id=answered.group_id,
        name=answered.name,
        summaries=tuple(map(_summary, wanted.lists, answered.items)),
        position=answered.position,
        cost=answered.cost,
        saved=answered.saved,
    )


def _summary(texts: tuple[str, ...], item: BatchItem) -> Summary:
    outcome = item.outcome
    if not isinstance(outcome, Answer):
        return fallen_back(texts, outcome.status, outcome.error, outcome.call_id)
    said = (outcome.text or "").strip()
    if outcome.refused:
        return fallen_back(texts, "refused", f"the model refused: {said or outcome.finish_reason}", outcome.call_id)
    if not said:
        return fallen_back(texts, "empty", "the model answered nothing", outcome.call_id)
    given = outcome.cached or outcome.shared_with is not None
    return Summary(text=said, call_id=outcome.call_id, fell_back=False, cached=given)


def _question(wanted: TextsToSummarise, texts: tuple[str, ...]) -> Question:
    """A single text is asked about as it is, several are listed a line each, which `local-extract` knows too."""
    system = None
    if wanted.template is not None:
        listed = texts[0] if len(texts) == 1 and not wanted.all_listed else _listed(texts)
        prompt = filled_in(wanted.template, listed, {}, what=TEXTS)
    elif len(texts) == 1:
        system, prompt = ONE_TEXT, texts[0]
    else:
        prompt = filled_in(SHARED_BY_TEXTS, _listed(texts), {}, what=TEXTS)
    return Question(
        prompt=prompt,
        system=system,
        provider=wanted.provider,
        model=wanted.model,
        temperature=wanted.temperature,
        max_tokens=wanted.max_tokens,
    )


def _listed(texts: tuple[str, ...]) -> str:
    return "\n".join(f"- {' '.join(text.split())}" for text in texts)


def _check(wanted: TextsToSummarise) -> None:
    if not wanted.lists:
        raise Rejected("There are no texts to summarise", fields=("texts",))
    if len(wanted.lists) > MOST_ANSWERS:
        raise Rejected(
            f"{len(wanted.lists):,} summaries are more than {MOST_ANSWERS:,}: divide them", fields=("texts",)
        )
    if wanted.template is not None:
        checked_template(wanted.template, {}, what=TEXTS)
    for place, texts in enumerate(wanted.lists):
        field = (f"texts[{place}]",)
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise Rejected(f"Item {place} holds no text, or an empty one; leave it out", fields=field)
        if len(texts) > MOST_TEXTS_OF_A_LIST:
            raise Rejected(
                f"Item {place} holds {len(texts):,} texts; a summary is of at most {MOST_TEXTS_OF_A_LIST:,}: "
                "sample them, or divide them",
                fields=field,
            )
        if sum(map(len, texts)) > MOST_FILLED_CHARACTERS:
            raise Rejected(f"Item {place} has more than {MOST_FILLED_CHARACTERS:,} characters", fields=field)
