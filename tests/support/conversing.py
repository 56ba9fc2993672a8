"""The use cases of a conversation, wired over a list store as the composition wires them over the real one."""

from uuid import UUID

from application.adopt_answer import AdoptAnswer
from application.continue_conversation import ContinueConversation, Message, TakenTurn
from application.keep_conversation import KeepConversation, NewConversation
from application.ports import Tokenizers
from domain.conversations import ConversationSettings
from tests.support.asking import ask_model
from tests.support.fours_of_letters import FoursOfLetters
from tests.support.given_when_then import CONTEXT, ListJournal, ListStore, SteppingClock, notebook
from tests.support.scripted_provider import Directory, ScriptedProvider


class Conversing:
    """A process, over a store that it may share with others."""

    def __init__(
        self,
        provider: ScriptedProvider | None = None,
        store: ListStore | None = None,
        tokenizers: Tokenizers | None = None,
    ) -> None:
        self.store = store or ListStore()
        self.journal = ListJournal()
        self.clock = SteppingClock()
        self.notebook = notebook(self.store, self.clock, self.journal)
        self.provider = provider or ScriptedProvider()
        self.keep = KeepConversation(self.notebook, Directory(self.provider))
        self.ask = ask_model(self.notebook, self.store, self.provider)
        self.adopt = AdoptAnswer(self.store, self.store)
        self.say_to = ContinueConversation(
            self.notebook, self.keep, self.ask, self.adopt, tokenizers or FoursOfLetters()
        )

    async def begin(self, **settings: object) -> UUID:
        """A new conversation."""
        wanted = NewConversation(settings=ConversationSettings(**settings))  # type: ignore[arg-type]
        return (await self.keep.start(wanted, CONTEXT)).conversation_id

    async def say(self, conversation_id: UUID, content: str, **options: object) -> TakenTurn:
        """One message."""
        message = Message(content=content, **options)  # type: ignore[arg-type]
        return await self.say_to(conversation_id, message, CONTEXT)

    async def said(self, conversation_id: UUID) -> list[str]:
        """All that was said, in order."""
        history = await self.keep.history(conversation_id, await self.keep.load(conversation_id))
        return [message["content"] for turn in history for message in turn]
