import asyncio
from uuid import UUID

import pytest

from application.ask_model import Answer, Question
from application.group_calls import GroupPlace
from application.providers import AttemptFailed, PreparedRequest, ProviderAnswer
from domain.calls import CallAnswered, CallAttemptFailed, CallCancelled, CallFailed, CallFoundInDoubt, CallRequested
from domain.errors import ProviderFailed, Rejected, Unavailable
from tests.support.asking import ask_model
from tests.support.given_when_then import CONTEXT, ListJournal, ListStore, SteppingClock, notebook
from tests.support.scripted_provider import ScriptedProvider, failure


class Asking:
    """A use case over a list store and a scripted provider."""

    def __init__(self, *script: AttemptFailed, hangs: bool = False, attempts: int = 3) -> None:
        self.store = ListStore()
        self.clock = SteppingClock()
        self.notebook = notebook(self.store, self.clock)
        self.provider = ScriptedProvider(script, hangs=hangs)
        self.ask = ask_model(self.notebook, self.store, self.provider, attempts=attempts)


async def test_an_answer_is_durable_before_the_caller_has_it() -> None:
    asking = Asking()
    answer = await asking.ask(Question(prompt="Three primes?"), CONTEXT)
    assert answer.text == "echo: Three primes?"
    assert [type(fact) for fact in asking.store.facts()] == [CallRequested, CallAnswered]
    assert answer.position == 2
    response = await asking.store.read_payload(answer.call_id, 2, "response")
    assert response is not None
    assert b"echo: Three primes?" in (response.body or b"")


async def test_the_request_is_durable_before_the_provider_is_contacted() -> None:
    asking = Asking()
    seen: list[int] = []
    send = asking.provider.send

    async def looking(prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        seen.append(len(asking.store.facts(CallRequested)))
        return await send(prepared, timeout_seconds=timeout_seconds)

    asking.provider.send = looking  # type: ignore[method-assign]
    await asking.ask(Question(prompt="?"), CONTEXT)
    assert seen == [1]


async def test_a_call_whose_request_cannot_be_stored_is_never_made() -> None:
    asking = Asking()
    asking.store.unavailable = True
    with pytest.raises(Unavailable):
        await asking.ask(Question(prompt="?"), CONTEXT)
    assert asking.provider.sent == []


async def test_each_failed_attempt_is_an_event_of_its_own() -> None:
    asking = Asking(failure(), failure("rate_limited"))
    answer = await asking.ask(Question(prompt="?"), CONTEXT)
    assert answer.attempts == 3
    kinds = [type(fact) for fact in asking.store.facts()]
    assert kinds == [CallRequested, CallAttemptFailed, CallAttemptFailed, CallAnswered]
    first, second = asking.store.facts(CallAttemptFailed)
    assert isinstance(first, CallAttemptFailed)
    assert isinstance(second, CallAttemptFailed)
    assert [first.attempt, second.attempt] == [1, 2]
    assert [first.waits_seconds, second.waits_seconds] == asking.clock.slept
    assert 0.5 <= asking.clock.slept[0] <= 1.0 <= asking.clock.slept[1] <= 2.0


async def test_what_the_provider_asks_to_wait_is_waited() -> None:
    asking = Asking(failure("rate_limited", retry_after=7.5))
    await asking.ask(Question(prompt="?"), CONTEXT)
    assert asking.clock.slept == [7.5]


async def test_a_lasting_failure_is_not_tried_again() -> None:
    asking = Asking(failure("authentication", transient=False), attempts=5)
    with pytest.raises(ProviderFailed, match="told to fail: authentication") as failed:
        await asking.ask(Question(prompt="?"), CONTEXT)
    assert [type(fact) for fact in asking.store.facts()] == [CallRequested, CallAttemptFailed, CallFailed]
    assert UUID(failed.value.call_id) == asking.store.events[0].stream_id
    assert asking.clock.slept == []


async def test_attempts_are_bounded_and_the_last_failure_lands_with_the_end() -> None:
    asking = Asking(*(failure() for _ in range(9)), attempts=3)
    with pytest.raises(ProviderFailed, match="after 3 attempts"):
        await asking.ask(Question(prompt="?"), CONTEXT)
    attempts = asking.store.facts(CallAttemptFailed)
    assert [fact.attempt for fact in attempts if isinstance(fact, CallAttemptFailed)] == [1, 2, 3]
    assert isinstance(attempts[-1], CallAttemptFailed)
    assert attempts[-1].waits_seconds is None
    assert isinstance(asking.store.facts()[-1], CallFailed)


async def test_a_cancelled_call_says_so() -> None:
    asking = Asking(hangs=True)
    task = asyncio.create_task(asking.ask(Question(prompt="?"), CONTEXT))
    while not asking.provider.sent:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [type(fact) for fact in asking.store.facts()] == [CallRequested, CallCancelled]


async def test_a_call_cancelled_while_its_request_is_written_is_seen_to_end() -> None:
    asking = Asking()
    task = asyncio.create_task(asking.ask(Question(prompt="?"), CONTEXT))
    while not asking.store.begun:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [type(fact) for fact in asking.store.facts()] == [CallRequested, CallCancelled]
    assert asking.provider.sent == []


async def test_an_answer_that_was_paid_for_is_recorded_though_the_caller_left() -> None:
    asking = Asking()
    task = asyncio.create_task(asking.ask(Question(prompt="?"), CONTEXT))
    while not asking.provider.sent:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    assert [type(fact) for fact in asking.store.facts()] == [CallRequested, CallAnswered]


class Streaming(Asking):
    """The same, streamed."""

    def __init__(self, *script: AttemptFailed, hangs: bool = False, words: tuple[str, ...] = ("echo:", " ?")) -> None:
        super().__init__(*script, hangs=hangs)
        self.provider.words = words
        self.told: list[str] = []

    async def stream(self) -> Answer:
        return await self.ask.streamed(Question(prompt="?"), CONTEXT, self.told.append)


async def test_a_stream_that_fails_before_anything_was_told_is_tried_again() -> None:
    asking = Streaming(failure(), words=())
    answer = await asking.stream()
    assert (answer.text, answer.attempts, asking.told) == ("echo: ?", 2, ["echo:", " ?"])
    assert [type(fact) for fact in asking.store.facts()] == [CallRequested, CallAttemptFailed, CallAnswered]


async def test_a_stream_that_breaks_once_something_was_told_is_never_tried_again() -> None:
    asking = Streaming(failure(), words=("half",))
    with pytest.raises(ProviderFailed, match="after 1 attempt:"):
        await asking.stream()
    assert asking.told == ["half"]
    assert [type(fact) for fact in asking.store.facts()] == [CallRequested, CallAttemptFailed, CallFailed]
    (broken,) = asking.store.facts(CallAttemptFailed)
    assert isinstance(broken, CallAttemptFailed)
    assert (broken.waits_seconds, broken.first_token_ms) == (None, 2.0)
    assert broken.response is not None
    assert broken.completion is not None
    assert asking.clock.slept == []


async def test_a_stream_left_while_it_waits_to_be_tried_again_has_its_failure_recorded_once() -> None:
    asking = Streaming(failure(), words=())
    asleep = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    asking.clock.sleep = sleep  # type: ignore[method-assign]
    task = asyncio.create_task(asking.stream())
    await asleep.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [type(fact) for fact in asking.store.facts()] == [CallRequested, CallAttemptFailed, CallCancelled]
    (cancelled,) = asking.store.facts(CallCancelled)
    assert isinstance(cancelled, CallCancelled)
    assert (cancelled.response, cancelled.completion, cancelled.latency_ms) == (None, None, None)


async def test_a_stream_answers_while_the_store_is_away_and_waits_in_the_journal() -> None:
    asking = Streaming()
    journal = ListJournal()
    asking.notebook.journal = journal

    def tell(_text: str) -> None:
        asking.store.unavailable = True

    answer = await asking.ask.streamed(Question(prompt="?"), CONTEXT, tell)
    assert (answer.text, answer.position) == ("echo: ?", None)
    ((entry,),) = journal.kept
    assert isinstance(entry.fact, CallAnswered)
    assert [payload.part for payload in entry.payloads] == ["response", "completion"]


async def test_a_call_whose_request_cannot_be_stored_is_not_streamed() -> None:
    asking = Streaming()
    asking.store.unavailable = True
    with pytest.raises(Unavailable):
        await asking.stream()
    assert (asking.provider.sent, asking.told) == ([], [])


async def test_a_provider_that_cannot_stream_is_not_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ScriptedProvider, "stream")
    asking = Streaming()
    with pytest.raises(Rejected, match="scripted can't stream"):
        await asking.stream()
    assert asking.store.events == []


async def test_only_one_sample_is_streamed() -> None:
    asking = Streaming()
    with pytest.raises(Rejected, match="leave away n"):
        await asking.ask.streamed(Question(prompt="?", samples=2), CONTEXT, asking.told.append)
    assert asking.store.events == []


async def test_a_late_answer_lands_after_the_doubt() -> None:
    asking = Asking()
    send = asking.provider.send

    async def declared_dead(prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        event = asking.store.events[0]
        doubt = CallFoundInDoubt(dead_process="00000000000000a1", first_seen_dead_at=event.recorded_at)
        asking.store.given(event.stream_id, doubt)
        return await send(prepared, timeout_seconds=timeout_seconds)

    asking.provider.send = declared_dead  # type: ignore[method-assign]
    await asking.ask(Question(prompt="?"), CONTEXT)
    assert [(event.version, type(event.fact)) for event in asking.store.events] == [
        (1, CallRequested),
        (2, CallFoundInDoubt),
        (3, CallAnswered),
    ]


async def test_nothing_is_sent_that_was_not_asked_for() -> None:
    asking = Asking()
    await asking.ask(Question(prompt="?", system="Be brief.", seed=3), CONTEXT)
    assert asking.provider.sent[0].body == (
        b'{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"?"}],"seed":3}'
    )


@pytest.mark.parametrize(
    ("question", "field"),
    [
        (Question(), "prompt"),
        (Question(prompt=" "), "prompt"),
        (Question(prompt="?", messages=({"role": "user", "content": "?"},)), "messages"),
        (Question(prompt="?", samples=0), "n"),
        (Question(prompt="?", samples=101), "n"),
        (Question(prompt="?", temperature=3), "temperature"),
        (Question(prompt="?", max_tokens=0), "max_tokens"),
        (Question(prompt="?", attempts=21), "attempts"),
        (Question(prompt="?", attempt_timeout_seconds=0), "attempt_timeout_s"),
        (Question(prompt="?", call_timeout_seconds=float("nan")), "call_timeout_s"),
        (Question(prompt="?", group=GroupPlace(group_type="batch", name="")), "name"),
    ],
)
async def test_a_wrong_question_is_rejected_and_leaves_no_trace(question: Question, field: str) -> None:
    asking = Asking()
    with pytest.raises(Rejected) as rejected:
        await asking.ask(question, CONTEXT)
    assert field in rejected.value.fields
    assert asking.store.events == []


async def test_waits_end_with_the_calls_time_and_the_failure_says_so() -> None:
    asking = Asking(*(failure() for _ in range(9)), attempts=9)
    question = Question(prompt="?", call_timeout_seconds=4.0)
    with pytest.raises(ProviderFailed, match=r"not tried again, since the wait .* call's 4 s"):
        await asking.ask(question, CONTEXT)
    assert 1 < sum(asking.clock.slept) < 4
    (failed,) = asking.store.facts(CallFailed)
    assert isinstance(failed, CallFailed)
    assert "not tried again" in failed.error.message
    assert len(asking.store.facts(CallAttemptFailed)) == len(asking.provider.sent) < 9


async def test_a_provider_that_asks_to_wait_longer_than_the_call_may_take_ends_it_at_once() -> None:
    asking = Asking(failure("rate_limited", retry_after=120))
    with pytest.raises(ProviderFailed, match=r"the wait of 120\.0 s is longer"):
        await asking.ask(Question(prompt="?", call_timeout_seconds=100), CONTEXT)
    assert asking.clock.slept == []


async def test_an_attempt_may_take_no_longer_than_what_is_left_of_the_call() -> None:
    asking = Asking(failure("rate_limited", retry_after=7))
    limits: list[float] = []
    send = asking.provider.send

    async def timed(prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        limits.append(timeout_seconds)
        return await send(prepared, timeout_seconds=timeout_seconds)

    asking.provider.send = timed  # type: ignore[method-assign]
    await asking.ask(Question(prompt="?", call_timeout_seconds=10, attempt_timeout_seconds=8), CONTEXT)
    assert limits == [8, 3]


async def test_a_mistake_in_a_providers_code_is_a_failure_without_its_text() -> None:
    asking = Asking()

    async def mistaken(prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        raise KeyError("planted-key")

    asking.provider.send = mistaken  # type: ignore[method-assign]
    with pytest.raises(ProviderFailed, match="own code failed with KeyError"):
        await asking.ask(Question(prompt="?"), CONTEXT)
    assert [type(fact) for fact in asking.store.facts()] == [CallRequested, CallAttemptFailed, CallFailed]
    assert "planted" not in repr(asking.store.facts())


async def test_a_call_that_waits_for_its_place_is_neither_recorded_nor_timed() -> None:
    place = asyncio.Semaphore(1)
    asking = Asking()
    asking.ask = ask_model(asking.notebook, asking.store, asking.provider, places=lambda _provider: place)
    async with place:
        task = asyncio.create_task(asking.ask(Question(prompt="?"), CONTEXT))
        for _ in range(10):
            await asyncio.sleep(0)
        assert asking.store.events == []
        asking.clock.seconds = 1000.0
    await task
    (answered,) = asking.store.facts(CallAnswered)
    assert isinstance(answered, CallAnswered)
    assert answered.total_ms < 1000
