"""Answers handed out while they come, to readers who are slow, leave, or forget."""

import asyncio
import gc

import pytest

from application.ask_model import Question
from application.stream_answer import StreamAnswer
from domain.calls import CallAnswered, CallCancelled, CallRequested
from domain.errors import ProviderFailed, Rejected
from tests.application.test_ask_model import Asking
from tests.support.given_when_then import CONTEXT
from tests.support.scripted_provider import failure

QUESTION = Question(prompt="?")


async def test_the_answer_is_there_at_the_end_and_not_before() -> None:
    asking = Asking()
    stream = StreamAnswer(asking.ask)(QUESTION, CONTEXT)
    with pytest.raises(RuntimeError, match="read to its end"):
        _ = stream.answer
    assert [piece async for piece in stream] == ["echo:", " ?"]
    assert stream.answer.text == "echo: ?"
    assert stream.answer.position == 2


async def test_the_call_does_not_wait_for_a_slow_reader() -> None:
    asking = Asking()
    stream = StreamAnswer(asking.ask)(QUESTION, CONTEXT)
    while not asking.store.facts(CallAnswered):
        await asyncio.sleep(0)
    assert [piece async for piece in stream] == ["echo:", " ?"]


async def test_what_ends_the_call_reaches_the_reader() -> None:
    asking = Asking(failure(transient=False))
    stream = StreamAnswer(asking.ask)(QUESTION, CONTEXT)
    with pytest.raises(ProviderFailed):
        [piece async for piece in stream]
    with pytest.raises(ProviderFailed):
        _ = stream.answer
    stream = StreamAnswer(asking.ask)(Question(prompt="?", samples=2), CONTEXT)
    with pytest.raises(Rejected):
        [piece async for piece in stream]


async def test_a_reader_who_breaks_off_cancels_the_call() -> None:
    asking = Asking(hangs=True)
    async for piece in StreamAnswer(asking.ask)(QUESTION, CONTEXT):
        assert piece == "echo:"
        break
    gc.collect()
    async with asyncio.timeout(5):
        while not asking.store.facts(CallCancelled):
            await asyncio.sleep(0.01)


async def test_a_reader_who_fails_or_is_cancelled_leaves_a_cancelled_call_behind() -> None:
    asking = Asking(hangs=True)

    async def read() -> None:
        async with StreamAnswer(asking.ask)(QUESTION, CONTEXT) as stream:
            async for _ in stream:
                pass

    reading = asyncio.create_task(read())
    while not asking.provider.sent:
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    (left,) = asking.store.facts(CallCancelled)
    assert isinstance(left, CallCancelled)
    assert left.completion is not None


async def test_streams_that_are_left_over_end_with_the_study() -> None:
    asking = Asking(hangs=True)
    streams = StreamAnswer(asking.ask)
    streams(QUESTION, CONTEXT)
    while not asking.provider.sent:
        await asyncio.sleep(0)
    await streams.aclose()
    assert [type(fact) for fact in asking.store.facts()] == [CallRequested, CallCancelled]


async def test_leaving_twice_does_not_interrupt_the_recording() -> None:
    asking = Asking(hangs=True)
    stream = StreamAnswer(asking.ask)(QUESTION, CONTEXT)
    while not asking.provider.sent:
        await asyncio.sleep(0)
    await asyncio.gather(stream.aclose(), stream.aclose())
    assert [type(fact) for fact in asking.store.facts()] == [CallRequested, CallCancelled]
