"""Summaries: one for each list, in order; what fails falls back, says so, and is all that another try pays for."""

from typing import Any

import msgspec
import pytest
from msgspec import structs

from application.group_calls import GroupPlace
from application.notebook import Context
from application.providers import AttemptFailed, PreparedRequest, ProviderAnswer
from application.summarise_texts import (
    MOST_TEXTS_OF_A_LIST,
    Summarised,
    SummariseTexts,
    TextsToSummarise,
    short_name,
)
from domain.calls import CallRequested
from domain.errors import Rejected
from domain.groups import GroupCreated, GroupMembersAdded
from tests.support.asking import ask_batch, ask_model, deployed
from tests.support.given_when_then import CONTEXT, CountingIds, ListStore, notebook
from tests.support.scripted_provider import ScriptedProvider, failure

LISTS = (("a train",), ("bake a cake", "bake bread"), ("rain", "snow"))


class Speaks(ScriptedProvider):
    """Says what it is told to, with a finish reason and in a place of the answer."""

    def __init__(self, said: str | None, *, finish_reason: str = "stop", where: str = "content") -> None:
        super().__init__()
        self.said, self.finish_reason, self.where = said, finish_reason, where

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        answer = await super().send(prepared, timeout_seconds=timeout_seconds)
        return structs.replace(
            answer,
            text=self.said,
            body=msgspec.json.encode({"choices": [{"message": {self.where: self.said}}]}),
            text_path=None if self.said is None else ("choices", "0", "message", self.where),
            finish_reason=self.finish_reason,
        )


class Summarising:
    def __init__(
        self, *script: AttemptFailed, provider: ScriptedProvider | None = None, store: ListStore | None = None
    ) -> None:
        self.store = store or ListStore()
        self.provider = provider or ScriptedProvider(script)
        self.checked: list[tuple[str | None, str | None]] = []
        book = notebook(self.store)
        book.ids = CountingIds(after=100 * len(self.store.events))
        ask = ask_model(book, self.store, self.provider, attempts=1)

        async def check(provider: str | None, model: str | None, context: Context) -> None:
            await deployed(provider, model, context)
            self.checked.append((provider, model))

        self.use = SummariseTexts(ask, ask_batch(book, self.store, ask), check)

    async def __call__(self, *lists: tuple[str, ...], **how: Any) -> Summarised:
        return await self.use(TextsToSummarise(lists=lists or LISTS, in_flight=1, **how), CONTEXT)

    def asked(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(prepared.body) for prepared in self.provider.sent]


async def test_each_list_has_its_summary_in_order_and_the_calls_form_a_group() -> None:
    summarising = Summarising()
    done = await summarising(provider="scripted", model="m")
    assert [summary.text.startswith("echo: ") for summary in done.summaries] == [True] * 3
    assert "bake bread" in done.summaries[1].text
    assert done.fell_back == []
    (group,) = summarising.store.facts(GroupCreated)
    assert isinstance(group, GroupCreated)
    assert (group.group_type, group.name) == ("summarization_batch", done.name)
    members = [fact.members[0] for fact in summarising.store.facts(GroupMembersAdded)]  # type: ignore[attr-defined]
    assert [(member.role, member.position) for member in members] == [("output", at) for at in range(3)]
    assert [member.call_id for member in members] == [summary.call_id for summary in done.summaries]
    assert summarising.checked == [("scripted", "m")]


async def test_a_single_text_is_asked_about_as_it_is_and_several_are_listed() -> None:
    summarising = Summarising()
    await summarising(("two\nlines",), ("a\nb", "c"), temperature=0.5, max_tokens=9)
    alone, several = summarising.asked()
    assert [message["role"] for message in alone["messages"]] == ["system", "user"]
    assert alone["messages"][1]["content"] == "two\nlines"
    assert several["messages"][0]["content"].endswith("- a b\n- c")
    assert (alone["temperature"], alone["max_tokens"]) == (0.5, 9)


async def test_a_template_is_put_around_the_texts_and_reaches_nothing_else() -> None:
    summarising = Summarising()
    await summarising(("{x}",), ("a", "b"), template="In {{one}} word: {texts}")
    assert [asked["messages"][0]["content"] for asked in summarising.asked()] == [
        "In {one} word: {x}", "In {one} word: - a\n- b",
    ]  # fmt: skip
    (group,) = summarising.store.facts(GroupCreated)
    assert isinstance(group, GroupCreated)
    assert group.metadata["template"] == "In {{one}} word: {texts}"
    for template in ("no place", "{texts.__class__}", "{texts!r}", "{texts} {user_input}", "{texts"):
        with pytest.raises(Rejected) as rejected:
            await summarising(template=template)
        assert "template" in rejected.value.fields
    assert len(summarising.provider.sent) == 2


async def test_what_fails_falls_back_to_the_first_text_and_is_paid_for_when_it_is_asked_again() -> None:
    summarising = Summarising(failure(transient=False))
    done = await summarising()
    first, *others = done.summaries
    assert (first.text, first.fell_back, first.status) == ("a train", True, "failed")
    assert first.call_id is not None
    assert "told to fail" in (first.reason or "")
    assert [summary.fell_back for summary in others] == [False, False]
    again = Summarising(store=summarising.store)
    repeated = await again()
    assert [summary.fell_back for summary in repeated.summaries] == [False] * 3
    assert [summary.cached for summary in repeated.summaries] == [False, True, True]
    assert len(again.provider.sent) == 1
    assert (repeated.group_id, repeated.name) == (done.group_id, done.name)
    third = Summarising(store=summarising.store)
    await third()
    assert third.provider.sent == third.checked == []  # nothing to ask, so no deployment to look at
    anew = Summarising(store=summarising.store)
    await anew(again=True)
    assert len(anew.provider.sent) == 3


@pytest.mark.parametrize(
    ("provider", "status", "reason"),
    [
        (Speaks(None), "empty", "answered nothing"),
        (Speaks(" \n"), "empty", "answered nothing"),
        (Speaks("I can't help with that", where="refusal"), "refused", "refused: I can't help with that"),
        (Speaks("The topic is", finish_reason="content_filter"), "refused", "refused: The topic is"),
    ],
)
async def test_an_empty_answer_and_a_refusal_fall_back_also_when_they_are_read_again(
    provider: Speaks, status: str, reason: str
) -> None:
    summarising = Summarising(provider=provider)
    done = await summarising()
    assert [(summary.status, summary.fell_back) for summary in done.summaries] == [(status, True)] * 3
    assert [summary.text for summary in done.summaries] == [texts[0] for texts in LISTS]
    assert all(reason in (summary.reason or "") for summary in done.summaries)
    again = Summarising(store=summarising.store)
    repeated = await again()
    assert [summary.call_id for summary in repeated.summaries] == [summary.call_id for summary in done.summaries]


async def test_a_group_names_the_batch_or_is_joined_besides() -> None:
    summarising = Summarising()
    named = await summarising(group=GroupPlace(group_type="summarization_batch", name="mine"))
    assert named.name == "mine"
    await summarising(group=GroupPlace(group_type="batch", name="all"))
    created = [(fact.group_type, fact.name) for fact in summarising.store.facts(GroupCreated)]  # type: ignore[attr-defined]
    assert ("batch", "all") in created
    assert len(created) == 3


@pytest.mark.parametrize(
    ("lists", "how", "field"),
    [
        (((),), {}, "texts[0]"),
        ((("a",), ("b", " ")), {}, "texts[1]"),
        ((("a",) * (MOST_TEXTS_OF_A_LIST + 1),), {}, "texts[0]"),
        ((("a",),), {"temperature": 3.0}, "temperature"),
        ((("a",),), {"max_tokens": 0}, "max_tokens"),
        ((("a",),), {"template": "x"}, "template"),
    ],
)
async def test_what_cannot_be_summarised_is_refused_by_its_name_before_anything_is_asked(
    lists: tuple[tuple[str, ...], ...], how: dict[str, Any], field: str
) -> None:
    summarising = Summarising()
    with pytest.raises(Rejected) as rejected:
        await summarising.use(TextsToSummarise(lists=lists, **how), CONTEXT)
    assert field in rejected.value.fields
    assert summarising.store.facts(CallRequested) == []


async def test_nothing_to_summarise_is_refused() -> None:
    with pytest.raises(Rejected, match="no texts"):
        await Summarising().use(TextsToSummarise(lists=()), CONTEXT)


def test_a_name_is_one_short_line_without_quotation_marks() -> None:
    assert short_name('"A  train\nto Rome."') == "A train to Rome"
    assert len(short_name("long " * 50)) == 80
