"""Conversations are begun, forked and closed; nobody is asked for that."""

from uuid import UUID

import pytest

from application.keep_conversation import KeepConversation, NewConversation
from application.notebook import Notebook
from application.ports import NewEvent
from domain.conversations import ConversationClosed, ConversationForked, ConversationSettings, ConversationStarted
from domain.errors import Conflict, NotFound, Rejected, Unavailable
from domain.sweeps import SweepFailed
from tests.support.given_when_then import CONTEXT, ListStore, notebook
from tests.support.scripted_provider import Directory, ScriptedProvider

SETTINGS = ConversationSettings(system="Be brief.", temperature=0.5)
THEIRS = UUID(int=77)


class Keeping:
    """A use case over a list store."""

    def __init__(self) -> None:
        self.store = ListStore()
        self.notebook: Notebook = notebook(self.store)
        self.provider = ScriptedProvider()
        self.keep = KeepConversation(self.notebook, Directory(self.provider))


async def test_a_conversation_begins_with_what_holds_for_all_its_turns() -> None:
    keeping = Keeping()
    begun = await keeping.keep.start(NewConversation(settings=SETTINGS, title="t", metadata={"n": 1}), CONTEXT)
    assert keeping.store.facts() == [ConversationStarted(settings=SETTINGS, title="t", metadata={"n": 1})]
    assert (begun.position, begun.parent_id) == (1, None)
    assert (await keeping.keep.load(begun.conversation_id)).settings == SETTINGS


async def test_an_id_that_the_caller_brings_is_taken_once() -> None:
    keeping = Keeping()
    wanted = NewConversation(conversation_id=THEIRS)
    assert (await keeping.keep.start(wanted, CONTEXT)).conversation_id == THEIRS
    keeping.notebook.clock.seconds += 1  # type: ignore[attr-defined]
    with pytest.raises(Conflict, match="choose another") as refused:
        await keeping.keep.start(wanted, CONTEXT)
    assert refused.value.existing_id == str(THEIRS)
    with pytest.raises(Conflict):
        await keeping.keep.fork(THEIRS, CONTEXT, fork_id=THEIRS)
    assert len(keeping.store.events) == 1


async def test_what_can_not_be_begins_nothing() -> None:
    keeping = Keeping()
    for wanted in (
        NewConversation(settings=ConversationSettings(temperature=3)),
        NewConversation(title=""),
    ):
        with pytest.raises(Rejected):
            await keeping.keep.start(wanted, CONTEXT)
    assert keeping.store.events == []


async def test_a_provider_that_there_is_not_is_told_at_the_beginning() -> None:
    class Nobody:
        def create(self, name: str | None) -> ScriptedProvider:
            raise Rejected(f"There is no provider {name}", fields=("provider",))

    keeping = Keeping()
    keep = KeepConversation(keeping.notebook, Nobody())
    with pytest.raises(Rejected, match="no provider opnai"):
        await keep.start(NewConversation(settings=ConversationSettings(provider="opnai")), CONTEXT)
    await keep.start(NewConversation(), CONTEXT)


async def test_a_fork_has_its_parents_settings_and_says_where_it_comes_from() -> None:
    keeping = Keeping()
    parent = await keeping.keep.start(NewConversation(settings=SETTINGS, title="t", metadata={"n": 1}), CONTEXT)
    fork = await keeping.keep.fork(parent.conversation_id, CONTEXT, title="mine")
    assert keeping.store.facts(ConversationForked) == [
        ConversationForked(
            parent_id=parent.conversation_id, at_turn=0, settings=SETTINGS, title="mine", metadata={"n": 1}
        )
    ]
    assert keeping.store.events[-1].envelope.causation_id == fork.parent_id == parent.conversation_id
    with pytest.raises(Rejected, match="has 0 turns"):
        await keeping.keep.fork(parent.conversation_id, CONTEXT, at=1)


async def test_closing_again_changes_nothing_and_erases_nothing() -> None:
    keeping = Keeping()
    talk = (await keeping.keep.start(NewConversation(), CONTEXT)).conversation_id
    assert await keeping.keep.close(talk, CONTEXT, reason="done") == 2
    assert await keeping.keep.close(talk, CONTEXT, reason="again") == 2
    assert keeping.store.facts(ConversationClosed) == [ConversationClosed(reason="done")]
    assert (await keeping.keep.fork(talk, CONTEXT)).position == 3


async def test_closing_waits_for_nobody_who_writes_meanwhile() -> None:
    keeping = Keeping()
    talk = (await keeping.keep.start(NewConversation(), CONTEXT)).conversation_id
    write = keeping.notebook.write
    others = iter([ConversationClosed(reason="theirs")])

    async def slower(*entries: NewEvent) -> int:
        for fact in others:
            keeping.store.given(talk, fact)
        return await write(*entries)

    keeping.notebook.write = slower  # type: ignore[method-assign, assignment]
    assert await keeping.keep.close(talk, CONTEXT, reason="ours") == 2
    assert keeping.store.facts(ConversationClosed) == [ConversationClosed(reason="theirs")]


async def test_what_is_no_conversation_is_not_found() -> None:
    keeping = Keeping()
    keeping.store.given(THEIRS, SweepFailed(reason="?"))
    for unknown in (THEIRS, UUID(int=1)):
        for act in (
            keeping.keep.load(unknown),
            keeping.keep.fork(unknown, CONTEXT),
            keeping.keep.close(unknown, CONTEXT),
        ):
            with pytest.raises(NotFound, match="study conversations list"):
                await act


async def test_without_a_store_nothing_begins() -> None:
    keeping = Keeping()
    keeping.store.unavailable = True
    with pytest.raises(Unavailable):
        await keeping.keep.start(NewConversation(), CONTEXT)
