"""Given prompts and answers, then they are found by their words, and shown with them."""

import random
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.ports import Payload
from domain.errors import Rejected
from domain.groups import GroupCreated, GroupMembersAdded, Member
from projections.excerpts import excerpt_of, found_places
from projections.paging import Paging
from projections.search_eras import CallSearch
from projections.search_query import Term, parsed
from projections.words import places_of_words, words_of
from tests.projections.log import COMPLETION, NOON, STREAM, answered, failed, requested, streamed

ONE, TWO, THREE = UUID(int=1), UUID(int=2), UUID(int=3)


def body(part, document):
    return Payload(part=part, body=msgspec.json.encode(document), media_type="application/json", is_json=True)


def prompt(*texts, **more):
    return body("request", {"messages": [{"role": "user", "content": text} for text in texts], **more})


def answer(text):
    return body("response", {"choices": [{"message": {"role": "assistant", "content": text}}]})


def ask(log, call_id, *texts, **more):
    """A request whose bytes are these; the fact's reference says only that they are JSON."""
    asked = prompt(*texts)
    return log.write(call_id, msgspec.structs.replace(requested(**more), request=asked.ref()), payloads=[asked])


def tell(log, call_id, text):
    told = answer(text)
    return log.write(call_id, answered(response=told), payloads=[told])


@pytest.fixture
def found(queries):
    """Numbers of the calls that a search finds, in its order."""

    async def search(text, *, as_of=None, limit=50, **wanted):
        page = await queries.search.calls(CallSearch(search=text, **wanted), as_of=as_of, page=Paging(limit))
        return [UUID(each["call_id"]).int for each in page["items"]]

    return search


def test_a_word_is_a_run_of_letters_and_digits_without_case_or_accents():
    assert words_of("os.path.join(call_id, 'Ünïcode')") == ["os", "path", "join", "call", "id", "unicode"]
    assert words_of("STRASSE straße ﬁn １２ e\u0301té") == ["strasse", "strasse", "fin", "12", "ete"]
    assert words_of("質問です abc한국어") == ["質", "問", "て", "す", "abc한국어"]
    assert words_of("") == words_of("+++ _ \x00") == []
    assert words_of("a" * 100 + " é" + "b" * 100) == ["a" * 64, "e" + "b" * 63]


def test_words_are_found_where_they_stand():
    text = "Ünïcode, 質問 e\u0301té"
    assert [text[begin:end] for _, begin, end in places_of_words(text)] == ["Ünïcode", "質", "問", "e\u0301té"]
    assert [word for word, _, _ in places_of_words(text)] == words_of(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("primes Rome", "('primes' & 'rome')"),
        ("primes OR Rome milan", "('primes') | ('rome' & 'milan')"),
        (
            '"prime numbers" -rome',
            "(('prime' <-> 'numbers') & !'rome')",
        ),
        ("prim*", "('prim':*)"),
        ("os.path.join", "(('os' <-> 'path' <-> 'join'))"),
        ("OR OR primes OR", "('primes')"),
        ('or "unclosed phrase', "('or' & ('unclosed' <-> 'phrase'))"),
        ("a' | !b <-> :* & ( \\", "('a' & 'b')"),
        ("-rome", "(!'rome')"),
    ],
)
def test_a_search_is_written_for_the_index(text, written):
    assert parsed(text).tsquery() == written


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("+++", "no word"),
        ("OR -", "no word"),
        ("\x00", "no word"),
        ("a" * 1001, "at most 1,000"),
        ("a " * 65, "at most 64"),
    ],
)
def test_a_search_without_a_word_or_too_long_says_so(text, reason):
    with pytest.raises(Rejected, match=reason):
        parsed(text)


async def test_any_search_is_one_that_postgres_takes(log, follower, queries):
    chance = random.Random(7)
    for _ in range(60):
        text = "".join(chance.choices("ab'\"\\-*()&|!<>:% \x00é質", k=12)) + " end"
        await queries.search.calls(CallSearch(search=text, order=chance.choice(["newest", "rank"])))


async def test_calls_are_found_by_the_words_of_prompt_or_answer(log, follower, found):
    ask(log, ONE, "Be brief.", "Name three prime numbers")
    tell(log, ONE, "2, 3 and 5. numbers prime")
    ask(log, TWO, "Capital of Italy? os.path.join(a, b)")
    tell(log, TWO, "Rome, of course")
    follower.catch_up()
    assert await found("PRIME") == [1]
    assert await found("name OR rome") == [2, 1]
    assert await found('"prime numbers"') == [1]
    assert await found('"numbers three"') == []
    assert await found('"brief name"') == []  # no phrase goes from one message to the next
    assert await found("capital rome") == []  # all words in the same text
    assert await found("capi*") == [2]
    assert await found("join") == await found("path.join") == [2]
    assert await found("5 -rome") == [1]
    assert await found("rome", part="prompt") == []
    assert await found("rome", part="answer") == [2]
    assert await found("-rome", part="answer") == [1]


async def test_what_is_asked_of_tools_and_embedded_is_found_and_what_is_no_json_is_not(log, follower, found):
    told = body(
        "response",
        {
            "choices": [
                {
                    "message": {
                        "content": None,
                        "tool_calls": [{"function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}],
                    }
                }
            ]
        },
    )
    ask(log, ONE, "x")
    log.write(ONE, answered(response=told), payloads=[told])
    embedded = body("request", {"input": ["the first text", "the second text"]})
    fact = msgspec.structs.replace(requested(modality="embedding"), request=embedded.ref())
    log.write(TWO, fact, payloads=[embedded])
    broken = Payload(part="request", body=b"weather {", media_type="text/plain")
    log.write(THREE, msgspec.structs.replace(requested(), request=broken.ref()), payloads=[broken])
    log.write(THREE, streamed(), payloads=[STREAM, COMPLETION])
    follower.catch_up()
    assert await found("weather oslo") == [1]
    assert await found("second") == [2]
    assert await found("delta OR data") == []
    assert await found('"3 and"') == [3]
    assert (follower.catch_up().failures, await found("weather")) == ((), [1])


async def test_filters_narrow_what_is_found(log, follower, found):
    for number, (provider, model) in enumerate([("openai", "a'b\\"), ("azure", "m"), ("openai", "m")], start=1):
        ask(log, UUID(int=number), "the same words", provider=provider, model=model)
    tell(log, ONE, "words")
    log.write(TWO, failed())
    log.write(UUID(int=9), GroupCreated(group_type="run", name="one"))
    log.write(UUID(int=10), GroupMembersAdded(group_id=UUID(int=9), members=(Member(call_id=THREE),)))
    follower.catch_up()
    assert await found("words") == [3, 2, 1]
    assert await found("words", provider="OpenAI") == [3, 1]
    assert await found("words", model="a'b\\") == [1]
    assert await found("words", model="m", provider="azure", modality="text") == [2]
    assert await found("words", modality="embedding") == []
    assert await found("words", status="failed") == [2]
    assert await found("words", group_id=UUID(int=9)) == [3]
    assert await found("words", until=NOON) == [] == await found("words", since=NOON.replace(year=2027))
    assert await found("words", since=NOON, status="success") == [1]
    with pytest.raises(Rejected, match="no status"):
        await found("words", status="done")


async def test_a_text_is_found_as_of_a_position_from_its_own_on(log, follower, found):
    asked = ask(log, ONE, "Capital of Italy?")
    told = tell(log, ONE, "Rome")
    follower.catch_up()
    for text, first in (("italy", asked), ("rome", told)):
        assert await found(text, as_of=first - 1) == []
        assert await found(text, as_of=first) == [1] == await found(text)
    assert await found("-rome", as_of=asked) == [1]


async def test_the_best_come_first_by_rank(log, follower, found):
    ask(log, ONE, "rome rome rome")
    ask(log, TWO, "rome and a great many other words that have nothing to do with it")
    follower.catch_up()
    assert await found("rome") == [2, 1]
    assert await found("rome", order="rank") == [1, 2]
    assert await found("rome -nowhere", order="rank") == [1, 2]
    assert sorted(await found("-nowhere", order="rank")) == sorted(await found("-nowhere"))


async def test_what_was_found_is_shown_with_places_not_marks(log, follower, queries):
    long = f"{'before ' * 30}<b>Tokyo</b> and tokyo{' after' * 60}"
    ask(log, ONE, "system", long)
    tell(log, ONE, "Tōkyō")
    follower.catch_up()
    (item,) = (await queries.search.calls(CallSearch(search="tokyo")))["items"]
    shown = {each["part"]: each for each in item["found"]}
    assert [shown["answer"]["text"], shown["answer"]["marks"]] == ["Tōkyō", [(0, 5)]]
    excerpt = shown["prompt"]
    assert [excerpt["text"][begin:end] for begin, end in excerpt["marks"]] == ["Tokyo", "tokyo"]
    assert "<b>Tokyo</b>" in excerpt["text"]
    assert len(excerpt["text"]) <= 240
    assert excerpt["omitted_before"] is excerpt["omitted_after"] is True


def test_an_excerpt_marks_phrases_and_beginnings():
    excerpt = excerpt_of(["one two three, two"], parsed('"two three" on*').marked())
    assert excerpt is not None
    assert [excerpt.text[begin:end] for begin, end in excerpt.marks] == ["one", "two", "three"]
    assert excerpt_of([], parsed("a").marked()) is None
    nothing = excerpt_of(["without"], parsed("-a").marked())
    assert nothing is not None
    assert (nothing.text, nothing.marks) == ("without", [])


async def test_the_end_of_a_very_long_text_is_left_out_and_that_is_said(log, follower, found, sql):
    ask(log, ONE, "beginning " + "word " * 20_000 + "ending")
    ask(log, TWO, " ".join(chr(0x4E00 + number % 20_000) for number in range(70_000)))
    assert follower.catch_up().failures == ()
    assert await found("beginning") == [1]
    assert await found("ending") == []
    assert sql("SELECT cut FROM study.searched_texts ORDER BY call_id") == [(True,), (True,)]


SEARCHED = st.lists(st.sampled_from(["a", "ab", "abc", "b", "1", "a1"]), min_size=1, max_size=3).map(tuple)


@given(st.text("aAbBc1 .-_", max_size=40), st.lists(st.builds(Term, SEARCHED, st.just(True), st.booleans())))
def test_terms_are_found_in_plain_text_where_they_are_found_in_any_other(text, terms):
    assert found_places(text, terms) == found_places(f"{text} é", terms)
