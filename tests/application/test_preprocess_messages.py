"""Given a question with steps, when it is asked, then what is sent, and what is kept of how it came about."""

import asyncio

import msgspec
import pytest

from application.ask_model import Question
from domain.calls import CallJoined, CallRequested, CallServedFromCache
from domain.errors import Rejected
from domain.identity import sha256_hex
from domain.preprocessing import StepDone, parse_steps
from tests.application.test_ask_model import Asking
from tests.support.given_when_then import CONTEXT

ORIGINAL = b'{"fields":{"language":"French"},"messages":[{"content":"Say  hello","role":"user"}]}'


def question(prompt="Say  hello", names=("whitespace",), template="{user_input} in {language}", **more):
    fields = {"language": "French"} if template else None
    return Question(prompt=prompt, preprocessing=parse_steps(names, template=template, fields=fields), **more)


async def original_of(asking, call_id):
    payload = await asking.store.read_payload(call_id, 1, "original")
    return None if payload is None else payload.body


async def test_without_steps_nothing_is_changed_or_kept():
    asking = Asking()
    answer = await asking.ask(Question(prompt=" a\u200b  {b} "), CONTEXT)
    assert answer.text == "echo:  a\u200b  {b} "
    (requested,) = asking.store.facts(CallRequested)
    assert requested.preprocessing is None
    assert await original_of(asking, answer.call_id) is None


async def test_what_is_sent_is_the_outcome_and_the_original_lies_beside_the_request():
    asking = Asking()
    answer = await asking.ask(question(), CONTEXT)
    assert answer.text == "echo: Say hello in French"
    (requested,) = asking.store.facts(CallRequested)
    kept = requested.preprocessing
    assert kept.steps == (
        StepDone(step="whitespace", removed_characters=1),
        StepDone(step="template", template="{user_input} in {language}", field_names=("language",)),
    )
    assert await original_of(asking, answer.call_id) == ORIGINAL
    assert kept.original_sha256 == kept.original.sha256 == sha256_hex(ORIGINAL)
    assert kept.original.size == len(ORIGINAL)


async def test_steps_that_changed_nothing_are_recorded_too():
    asking = Asking()
    await asking.ask(question("Hello", ("control", "pii"), template=None), CONTEXT)
    (requested,) = asking.store.facts(CallRequested)
    assert requested.preprocessing.steps == (StepDone(step="control"), StepDone(step="pii"))
    assert requested.preprocessing.original is not None


async def test_personal_data_is_nowhere_in_the_log():
    asking = Asking()
    await asking.ask(question("I am ada@example.org", ("pii",), system="Serve bob@example.org"), CONTEXT)
    (requested,) = asking.store.facts(CallRequested)
    assert requested.preprocessing.steps[0].replaced == {"[EMAIL]": 2}
    assert requested.preprocessing.original is None
    assert len(requested.preprocessing.original_sha256) == 64
    stored = [payload.body for payload in asking.store.payloads.values()] + [
        msgspec.json.encode(fact) for fact in asking.store.facts()
    ]
    assert not any(b"example.org" in (body or b"") for body in stored)


async def test_a_cut_at_tokens_is_made_by_the_models_tokenizer():
    asking = Asking()
    answer = await asking.ask(question("abcdefghij", ("truncate:2t",), template=None, model="m2"), CONTEXT)
    assert answer.text == "echo: abcdefgh"
    (requested,) = asking.store.facts(CallRequested)
    assert requested.preprocessing.steps == (
        StepDone(step="truncate", parameter="2t", cut_characters=2, tokenizer="fours"),
    )


async def test_what_a_step_leaves_nothing_of_is_never_asked():
    asking = Asking()
    with pytest.raises(Rejected, match="The step control leaves nothing"):
        await asking.ask(question("\u200b", ("control",), template=None), CONTEXT)
    assert asking.store.facts() == []


async def test_a_long_text_is_preprocessed_while_others_go_on():
    asking = Asking()
    text = "word  " * 20_000
    asked = asyncio.create_task(asking.ask(question(text, template=None), CONTEXT))
    await asyncio.sleep(0)
    assert not asked.done()
    assert (await asked).text == "echo: " + ("word " * 20_000).strip()


async def test_a_stream_and_samples_are_preprocessed_alike():
    asking = Asking()
    answer = await asking.ask.streamed(question(), CONTEXT, [].append)
    one = await asking.ask.intended(question())
    other = await asking.ask.intended(question(), sample_index=1, words=one.words)
    await asyncio.gather(asking.ask.ask(one, CONTEXT), asking.ask.ask(other, CONTEXT))
    first, *others = asking.store.facts(CallRequested)
    assert [requested.sample_index for requested in others] == [0, 1]
    assert [requested.preprocessing for requested in others] == [first.preprocessing] * 2
    assert await original_of(asking, answer.call_id) == ORIGINAL


async def test_who_joins_or_is_served_from_the_cache_keeps_what_they_asked():
    asking = Asking()
    asked = [question(prompt, template=None, temperature=0.0) for prompt in ("Say  hello", " Say hello")]
    await asyncio.gather(*(asking.ask(each, CONTEXT) for each in asked))
    again = await asking.ask(question("Say hello ", template=None, temperature=0.0, cache_seconds=60), CONTEXT)
    (joined,), (served,) = asking.store.facts(CallJoined), asking.store.facts(CallServedFromCache)
    (requested,) = asking.store.facts(CallRequested)
    kept = [fact.preprocessing for fact in (requested, joined, served)]
    assert len({each.original_sha256 for each in kept}) == 3
    assert again.cached
    assert sha256_hex(await original_of(asking, again.call_id)) == served.preprocessing.original_sha256
    joiner_id = next(event.stream_id for event in asking.store.events if event.fact is joined)
    assert sha256_hex(await original_of(asking, joiner_id)) == joined.preprocessing.original_sha256
