"""Ask many questions, a few at a time: in order, each failure in its place, and nothing that was answered before.

A batch is a group, of type `batch` unless it is said, whose name is made of its requests unless it is given. Whoever
asks it again is given what it was answered before and pays for the rest, so that a batch that was killed goes on where
it was.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from msgspec import structs

from application.ask_model import MOST_SAMPLES, Answer, AskModel, Intended, Question
from application.batches import (
    LONGEST_SOURCE_NAME,
    AnsweredBatch,
    BatchItem,
    BatchToAsk,
    Outcome,
    Unanswered,
    batch_of,
    checked,
)
from application.group_calls import GroupCalls, GroupPlace
from application.notebook import Context, Notebook, last_of
from domain.calls import CallServedFromCache
from domain.errors import ProviderFailed, Rejected
from domain.identity import sha256_hex

AT_ONCE = 1_000  # requests that are looked up, and answers that are recorded as given again

Progress = Callable[[int, int], None]


class AnsweredBefore(Protocol):
    """The read models of calls and of the groups that they are in."""

    async def answers_in(self, group_id: UUID, request_hashes: Sequence[str]) -> dict[str, list[Answer]]:
        """What calls of a group answered to these requests, oldest first, in all that is stored by now."""


Tell = Callable[[BatchItem], None]
BeforeAsking = Callable[[], Awaitable[None]]


class AskBatch:
    """Asks batches."""

    def __init__(self, notebook: Notebook, ask_model: AskModel, groups: GroupCalls, before: AnsweredBefore) -> None:
        self._notebook = notebook
        self._ask_model = ask_model
        self._groups = groups
        self._before = before

    async def __call__(
        self,
        batch: BatchToAsk,
        context: Context,
        *,
        progress: Progress | None = None,
        tell: Tell | None = None,
        before_asking: BeforeAsking | None = None,
    ) -> AnsweredBatch:
        """Ask. Raises Rejected for what is no batch, and Unavailable when the store is lost; failures are outcomes.

        tell: is called with each item as it is done, in whatever order
        before_asking: is called once, unless all was answered before; what it raises ends the batch
        """
        checked(batch)
        # Of a question whose n is refused, one request stands for all.
        samples = [
            (index, sample, question)
            for index, question in enumerate(batch.questions)
            for sample in range(question.samples if 1 <= question.samples <= MOST_SAMPLES else 1)
        ]
        requests = [_Request(position, *each) for position, each in enumerate(samples)]
        told = _Told(len(requests), progress, tell)
        await self._intend(requests)
        name = batch.name or _name(batch.source_name, requests)
        place = GroupPlace(group_type=batch.group_type, name=name, role="output")
        metadata = {
            "questions": len(batch.questions),
            "source_name": batch.source_name[:LONGEST_SOURCE_NAME],
            **batch.metadata,
        }
        await self._groups.ensure(place, context, metadata=metadata)
        if not batch.again:
            await self._find_answers(requests, place.group_id)
        for request in requests:
            if request.outcome is not None and request.leader is None:
                told.all_of(request)
        open_requests = [request for request in requests if request.is_open]
        if before_asking is not None and open_requests:
            await before_asking()
        await self._ask(iter(open_requests), batch.in_flight, place, context, told)
        positions = [request.outcome.position for request in requests if isinstance(request.outcome, Answer)]
        positions += await self._record_given_again(requests, context)
        return AnsweredBatch(
            group_id=place.group_id,
            name=name,
            items=tuple(request.item() for request in requests),
            position=last_of(positions),
        )

    async def samples(self, question: Question, context: Context) -> list[Outcome]:
        """Ask for all samples of one question anew, at once; they form a batch of this command's own.

        Raises Rejected, and what the first one failed with when all of them did.
        """
        await self._ask_model.intended(question)  # or what is wrong with it would be told once a sample
        alone = (structs.replace(question, group=None),)
        batch = batch_of(alone, question.group, in_flight=question.samples, again=True)
        if batch.name is None:
            batch = structs.replace(batch, name=f"{question.samples} samples {context.correlation_id}")
        answered = await self(batch, context)
        if len(failures := answered.unanswered) == len(answered.items):
            raise ProviderFailed(failures[0].error, call_id=str(failures[0].call_id))
        return [item.outcome for item in answered.items]

    async def _intend(self, requests: list["_Request"]) -> None:
        """Put each request into its words. What is asked twice is asked once, unless it is not to be shared."""
        first: dict[str, _Request] = {}
        last: Intended | None = None
        for request in requests:
            # Samples of a question have the same words, which need not be prepared once more.
            words = last.words if last is not None and last.question is request.question else None
            try:
                request.intended = last = await self._ask_model.intended(
                    request.question, sample_index=request.sample, words=words
                )
            except Rejected as error:
                request.outcome = Unanswered(status="rejected", error=str(error))
                continue
            if request.question.share:
                leader = first.setdefault(request.request_hash, request)
                if leader is not request:
                    request.leader = leader
                    leader.followers.append(request)

    async def _find_answers(self, requests: list["_Request"], group_id: UUID) -> None:
        """Take what this batch was answered before: to the nth of equal requests, the nth answer."""
        asked: dict[str, list[_Request]] = defaultdict(list)
        for request in requests:
            if request.is_open:
                asked[request.request_hash].append(request)
        hashes = list(asked)
        for start in range(0, len(hashes), AT_ONCE):
            found = await self._before.answers_in(group_id, hashes[start : start + AT_ONCE])
            for request_hash, answers in found.items():
                for request, answer in zip(asked[request_hash], answers, strict=False):
                    request.given(answer)

    async def _ask(
        self, requests: Iterator["_Request"], in_flight: int, place: GroupPlace, context: Context, told: "_Told"
    ) -> None:
        async def work() -> None:
            for request in requests:
                await self._answer(request, place, context)
                told.all_of(request)

        # When the store is lost, every call under way has ended before the study is closed under it.
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(in_flight):
                    tasks.create_task(work())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _answer(self, request: "_Request", place: GroupPlace, context: Context) -> None:
        if request.intended is None:
            raise RuntimeError(f"Question {request.index} was not put into words")
        also_in = structs.replace(place, position=request.position)
        try:
            request.outcome = await self._ask_model.ask(request.intended, context, also_in=also_in)
        except ProviderFailed as failure:
            request.outcome = Unanswered(status="failed", error=str(failure), call_id=UUID(failure.call_id))
        for follower in request.followers:
            follower.given(request.outcome)

    async def _record_given_again(self, requests: list["_Request"], context: Context) -> list[int | None]:
        """Record which answers were given without a call of their own."""
        sources: dict[tuple[str, str], list[Answer]] = defaultdict(list)
        for request in requests:
            if request.was_given and isinstance(request.outcome, Answer):
                sources[request.outcome.provider, request.outcome.model].append(request.outcome)
        return [
            await self._notebook.write_or_keep(
                self._notebook.entry(
                    context,
                    self._notebook.ids.new(),
                    1,
                    _served(provider, model, answers[start : start + AT_ONCE]),
                )
            )
            for (provider, model), answers in sources.items()
            for start in range(0, len(answers), AT_ONCE)
        ]


class _Request:
    """One sample of one question, on its way to an outcome. Followers make the same request, and get its outcome."""

    __slots__ = ("followers", "index", "intended", "leader", "outcome", "position", "question", "sample", "was_given")

    def __init__(self, position: int, index: int, sample: int, question: Question) -> None:
        self.position = position  # in the batch's group
        self.index = index
        self.sample = sample
        self.question = question
        self.intended: Intended | None = None
        self.leader: _Request | None = None
        self.followers: list[_Request] = []
        self.outcome: Outcome | None = None
        self.was_given = False

    @property
    def request_hash(self) -> str:
        """The request's identity; empty for one that was refused."""
        return "" if self.intended is None else self.intended.call.request_hash

    @property
    def is_open(self) -> bool:
        """Whether it still has to be asked."""
        return self.outcome is None and self.leader is None

    def given(self, outcome: Outcome) -> None:
        """Take the outcome of another call, and hand it on."""
        self.outcome = outcome
        if isinstance(outcome, Answer):
            self.was_given = True
            paid = outcome.saved if outcome.cached or outcome.shared_with is not None else outcome.cost
            self.outcome = structs.replace(outcome, cached=True, latency_ms=0.0, cost=Decimal(0), saved=paid)
        for follower in self.followers:
            follower.given(outcome)

    def item(self) -> BatchItem:
        """What came of it."""
        if self.outcome is None:
            raise RuntimeError(f"Question {self.index} came to no outcome")
        return BatchItem(index=self.index, sample=self.sample, outcome=self.outcome)


class _Told:
    """Who waits for a batch is told of each item once, and how many are done."""

    def __init__(self, total: int, progress: Progress | None, tell: Tell | None) -> None:
        self._total = total
        self._progress = progress
        self._tell = tell
        self._done = 0
        if progress is not None:
            progress(0, total)

    def all_of(self, request: _Request) -> None:
        """A request is done, and so are its followers, unless they are told of by themselves."""
        for each in (request, *request.followers):
            if self._tell is not None:
                self._tell(each.item())
            self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _name(source_name: str, requests: list[_Request]) -> str:
    """The name of a batch: the same requests in the same order have the same."""
    told = "".join(request.request_hash or f"refused {request.index}" for request in requests)
    return f"{source_name[:LONGEST_SOURCE_NAME]} {sha256_hex(told.encode())[:16]}".strip()


def _served(provider: str, model: str, answers: list[Answer]) -> CallServedFromCache:
    saved = [answer.saved for answer in answers if answer.saved is not None]
    return CallServedFromCache(
        modality="text",
        provider=provider,
        model=model,
        hits=len(answers),
        call_ids=tuple(dict.fromkeys(answer.call_id for answer in answers)),
        saved=sum(saved, Decimal(0)) if len(saved) == len(answers) else None,
    )
