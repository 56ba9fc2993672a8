"""Asking models: one question, samples, batches, streams and conversations."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Unpack
from uuid import UUID

from msgspec import structs

from application.ask_model import Answer
from application.batches import Outcome, batch_of
from application.group_calls import group_place
from application.stream_answer import AnswerStream
from application.summarise_texts import SUMMARIES_IN_FLIGHT, TextsToSummarise
from application.validate_deployments import Validated
from domain.deployments import ProbedOperation
from domain.errors import Rejected
from interfaces.as_of import AsOf, Moment
from projections.paging import Paging
from study_query_llm.asynchronous.opened import Opened
from study_query_llm.conversation import AsyncConversation, ConversationOptions, conversation_of
from study_query_llm.questions import AskOptions, question_of, question_of_mapping
from study_query_llm.results import Batch, Rows, Summaries


class Asking(Opened):
    """Asking models: one question, samples, batches, streams and conversations."""

    async def ask(self, prompt: str | None = None, **options: Unpack[AskOptions]) -> Answer:
        """Ask a model; the answer is durable before it is returned. Raises Rejected, ProviderFailed, Unavailable.

        share: wait for the same request that is under way, instead of calling once more
        cache: take an answer that the same request got within this time, seconds or "1h"; needs temperature 0 or a seed
        template, fields: what the prompt is put into, with {user_input} and {name} of each field
        preprocess: steps such as "control", "whitespace", "pii:US", "truncate:500t"; what they change is recorded
        """
        return await self._wired.asking.ask(question_of(prompt, options), self._wired.context())

    async def samples(self, prompt: str | None = None, n: int = 2, **options: Unpack[AskOptions]) -> list[Outcome]:
        """Ask for n answers to one question; each is a call, and they form a group of type batch.

        One that failed stands in its place. Raises Rejected, Unavailable, and ProviderFailed when all of them failed.
        """
        question = structs.replace(question_of(prompt, options), samples=n)
        return await self._wired.asking.samples(question, self._wired.context())

    async def ask_batch(
        self,
        questions: "Iterable[str | Mapping[str, Any]]",
        *,
        in_flight: int = 16,
        again: bool = False,
        progress: Callable[[int, int], None] | None = None,
        **options: Unpack[AskOptions],
    ) -> Batch:
        """Ask many questions, in order; what this batch was answered before is given again and not paid for.

        questions: prompts, or mappings that hold a prompt or messages and options of their own
        group: "batch/NAME" names the batch, which else goes by its requests; a group of another type is joined as well
        again: ask also what was answered before
        progress: is called with how many are done, and of how many
        Failures stand in their places. Raises Rejected for what is no batch, and Unavailable.
        """
        group = group_place(options.pop("group", None))
        asked = tuple(
            question_of(each, options) if isinstance(each, str) else question_of_mapping(each, options)
            for each in questions
        )
        batch = batch_of(asked, group, in_flight=in_flight, again=again)
        return Batch(await self._wired.asking.batch(batch, self._wired.context(), progress=progress))

    async def summarise(
        self,
        texts: "Iterable[str | Sequence[str]]",
        *,
        provider: str | None = None,
        model: str | None = None,
        template: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        group: str | None = None,
        in_flight: int = SUMMARIES_IN_FLIGHT,
        again: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Summaries:
        """Summarise texts, or lists of texts that belong together, each by a call; only what is new is paid for.

        template: what the texts are put into, at {texts}
        group: "summarization_batch/NAME" names the batch; a group of another type is joined as well
        again: ask also for what was answered before
        Where a call fails, or the model answers nothing or refuses, the first text stands in, and `.fell_back` tells.
        Raises Rejected for what can't be summarised and for a deployment that there is not, and Unavailable.
        """
        if isinstance(texts, str):
            raise Rejected("Give a list of texts; one text is a list of one", fields=("texts",))
        wanted = TextsToSummarise(
            lists=tuple((each,) if isinstance(each, str) else tuple(each) for each in texts),
            provider=provider,
            model=model,
            template=template,
            temperature=temperature,
            max_tokens=max_tokens,
            group=group_place(group),
            in_flight=in_flight,
            again=again,
        )
        return Summaries(await self._wired.summaries.of_texts(wanted, self._wired.context(), progress=progress))

    def stream(self, prompt: str | None = None, **options: Unpack[AskOptions]) -> AnswerStream[str, Answer]:
        """Ask a model, and get the answer's text while it comes: `async for text in study.stream(…)`.

        At the end of the pieces the answer is durable and is the stream's `answer`. Whoever leaves before that cancels
        the call; what came is recorded.
        """
        return self._wired.asking.stream(question_of(prompt, options), self._wired.context())

    async def conversation(
        self,
        conversation_id: UUID | str | None = None,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **options: Unpack[ConversationOptions],
    ) -> AsyncConversation:
        """Begin a conversation, or go on with the one that has this id. Raises NotFound, Rejected.

        token_budget: the most tokens of messages to send; the oldest turns are left out, and each turn says which
        """
        return await conversation_of(self._wired, conversation_id, title=title, metadata=metadata, options=options)

    async def conversations(self, *, status: str | None = None, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Conversations, newest first, as of a time or position; status is open or closed."""
        return Rows((await self._wired.conversations.list(Moment(as_of), Paging(limit), status=status))["items"])

    async def validate_deployments(
        self,
        provider: str | None,
        names: Iterable[str],
        *,
        operation: ProbedOperation = "embeddings",
        again: bool = False,
    ) -> list[Validated]:
        """Which of a provider's deployments (or models) there are: each is asked once, and the answer remembered."""
        return await self._wired.providers.validate(
            provider, list(names), self._wired.context(), operation=operation, again=again
        )

    async def filter_valid_deployments(self, provider: str | None, names: Iterable[str]) -> list[str]:
        """These deployments for embeddings, but for those that the provider says it has not."""
        return await self._wired.providers.valid(provider, list(names), self._wired.context())
