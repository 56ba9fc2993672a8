"""Say something in a conversation, and get the answer once the turn is durable.

One message at a time: a claim is taken before the history is read and given up with the turn, so that of two messages
at once one is answered, and the other is refused before anybody is paid.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

from msgspec import Struct, structs

from application.adopt_answer import AdoptAnswer
from application.ask_model import Answer, AskModel, Question, messages_of
from application.group_calls import GroupPlace
from application.keep_conversation import KeepConversation, Said, messages_payload
from application.notebook import Context, Notebook
from application.ports import Claim, ClaimHeld, Tokenizers
from application.preprocess_messages import PreparedMessages
from domain.conversations import (
    BY_CHARACTERS,
    Conversation,
    ConversationSettings,
    ConversationTurnTaken,
    Fitted,
    TokenCounter,
    checked_message,
    checked_settings,
    fitted,
    opening_of,
    takes_messages,
)
from domain.errors import Conflict, Rejected, Unavailable
from domain.events import Metadata
from domain.preprocessing import Preprocessing

LET_GO_SECONDS = 1.0  # how often giving up a claim is tried while the store is away
TOKENIZER_SECONDS = 5.0  # how long a tokenizer may take to be there; some are fetched from the network

Tell = Callable[[str], None]


class Message(Struct, frozen=True, kw_only=True):
    """Something to say. What is not set is as the conversation has it.

    A provider without a model is asked for its default model, since the conversation's may be another provider's.
    preprocessing: of this message alone; the conversation keeps, and sends again, what comes of it
    """

    content: str
    provider: str | None = None
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    token_budget: int | None = None
    group: GroupPlace | None = None
    metadata: Metadata = {}
    preprocessing: Preprocessing | None = None


class TakenTurn(Struct, frozen=True, kw_only=True):
    """A message and its answer, which are durable at `position`, or in the journal while that is None.

    dropped_turns: how many of the oldest turns were not sent, to keep within the budget
    """

    conversation_id: UUID
    turn: int
    answer: Answer
    position: int | None
    dropped_turns: int = 0
    budget_tokens: int | None = None
    prompt_tokens_estimated: int | None = None
    counted_by: str | None = None

    @property
    def text(self) -> str | None:
        """The answer's text."""
        return self.answer.text


class ContinueConversation:
    """Takes turns. Instances are shared by all tasks."""

    def __init__(
        self,
        notebook: Notebook,
        conversations: KeepConversation,
        ask_model: AskModel,
        adopt_answer: AdoptAnswer,
        tokenizers: Tokenizers,
    ) -> None:
        self._notebook = notebook
        self._conversations = conversations
        self._ask_model = ask_model
        self._adopt_answer = adopt_answer
        self._tokenizers = tokenizers
        self._counters: dict[str, TokenCounter] = {}
        self._letting_go: set[asyncio.Task[None]] = set()

    async def __call__(
        self, conversation_id: UUID, message: Message, context: Context, tell: Tell | None = None
    ) -> TakenTurn:
        """Say it, and get the answer; no turn is taken when that fails.

        tell: is called with each piece of the answer as it comes. Raises Rejected, NotFound, ProviderFailed,
        Unavailable, and Conflict for a conversation that is closed or answering another message.
        """
        checked_message(message.content)
        claim, position = await self._claimed(conversation_id)
        try:
            if self._notebook.journal.holds(conversation_id):
                raise Unavailable(
                    f"The last turn of conversation {conversation_id} is on its way from the journal to the store; "
                    "try again in a moment"
                )
            conversation = await self._conversations.load(conversation_id)
            takes_messages(conversation_id, conversation)
            asking = await self._asking(conversation_id, conversation, message)
            answer = await self._answer(asking, context, tell, at_least=position)
            stored = await self._record(asking, answer, context, claim)
        except BaseException:
            await asyncio.shield(self._let_go(conversation_id, claim))
            raise
        if stored is None:
            await self._let_go(conversation_id, claim)
        return asking.taken(answer, stored)

    async def aclose(self) -> None:
        """Stop trying to give up claims: they fall to whoever wants them once this process is gone."""
        for task in self._letting_go:
            task.cancel()
        await asyncio.gather(*self._letting_go, return_exceptions=True)

    async def _claimed(self, conversation_id: UUID) -> tuple[Claim, int]:
        """The right to answer, and a position that all that happened before is within. Raises Conflict at once."""
        claim = Claim(key=f"conversation:{conversation_id}", holder=self._notebook.ids.new())
        try:
            return claim, await self._notebook.take(claim)
        except ClaimHeld:
            raise Conflict(
                f"Conversation {conversation_id} is answering another message just now; wait for it, or fork",
                existing_id=str(conversation_id),
            ) from None
        except (Unavailable, asyncio.CancelledError):
            await asyncio.shield(self._let_go(conversation_id, claim))  # it may have been taken all the same
            raise

    async def _asking(self, conversation_id: UUID, conversation: Conversation, message: Message) -> "_Asking":
        """What is to be sent, within the budget if there is one. Raises Rejected."""
        settings = _settings_for(conversation.settings, message)
        sent = await self._sent(message, settings)
        history = await self._conversations.history(conversation_id, conversation)
        if settings.token_budget is None:
            return _Asking(conversation_id, conversation, history, message, sent, settings)
        counter = await self._counter(settings.model or "")
        system = [{"role": "system", "content": settings.system}] if settings.system else []
        kept = [*system, *sent.messages]
        # Counting millions of characters takes seconds, in which others may be answered.
        fits = await asyncio.to_thread(fitted, settings.token_budget, history, kept, counter)
        return _Asking(conversation_id, conversation, history, message, sent, settings, fits, counter.name)

    async def _sent(self, message: Message, settings: ConversationSettings) -> PreparedMessages:
        """The message as it is sent, after the steps that are wanted of it. Raises Rejected."""
        alone = Question(
            messages=({"role": "user", "content": message.content},),
            provider=settings.provider,
            model=settings.model,
            preprocessing=message.preprocessing,
        )
        return await self._ask_model.words(alone)

    async def _counter(self, model: str) -> TokenCounter:
        """What counts as the model does, or by characters where that can't be had; of a model, always the same."""
        if model not in self._counters:
            counter = BY_CHARACTERS
            with suppress(Rejected, TimeoutError):
                async with asyncio.timeout(TOKENIZER_SECONDS):
                    tokenizer = await asyncio.to_thread(self._tokenizers.for_model, model)
                    counter = TokenCounter(tokenizer.name, tokenizer.count)
            self._counters[model] = counter
        return self._counters[model]

    async def _answer(self, asking: "_Asking", context: Context, tell: Tell | None, *, at_least: int) -> Answer:
        """What was paid for already by a process that died before it recorded the turn, or else a new answer."""
        intended = await self._ask_model.intended(asking.question, tell=tell, words=asking.words)
        request_hash = intended.call.request_hash
        paid = await self._adopt_answer(request_hash, asking.conversation_id, asking.turn, at_least=at_least)
        if paid is None:
            return await self._ask_model.ask(intended, context)
        if tell is not None and paid.text:
            tell(paid.text)
        return paid

    async def _record(self, asking: "_Asking", answer: Answer, context: Context, claim: Claim) -> int | None:
        """Make the turn durable and give up the claim, together; None if it waits in the journal."""
        messages = messages_payload(asking.content, answer.text)
        fact = ConversationTurnTaken(
            turn=asking.turn,
            call_id=answer.call_id,
            after=asking.after,
            messages=messages.ref(),
            opening=opening_of(asking.content),
            provider=answer.provider,
            model=answer.model,
            finish_reason=answer.finish_reason,
            dropped_turns=asking.dropped_turns,
            budget_tokens=asking.budget_tokens,
            prompt_tokens_estimated=asking.tokens,
            counted_by=asking.counted_by,
        )
        entry = self._notebook.entry(
            context, asking.conversation_id, asking.after + 1, fact, messages, because_of=answer.call_id
        )
        return await self._notebook.write_or_keep(entry, free=(claim,))

    async def _let_go(self, conversation_id: UUID, claim: Claim) -> None:
        """Give the claim up now, or once the store is there and has the turn that waits in the journal."""
        if not self._notebook.journal.holds(conversation_id):
            with suppress(Unavailable):
                await self._notebook.free(claim)
                return
        task = asyncio.create_task(self._let_go_later(conversation_id, claim))
        self._letting_go.add(task)
        task.add_done_callback(self._letting_go.discard)

    async def _let_go_later(self, conversation_id: UUID, claim: Claim) -> None:
        while True:
            await self._notebook.clock.sleep(LET_GO_SECONDS)
            if not self._notebook.journal.holds(conversation_id):
                with suppress(Unavailable):
                    await self._notebook.free(claim)
                    return


class _Asking:
    """A message on its way: which turn it is, what is sent, and what had to be left out."""

    def __init__(
        self,
        conversation_id: UUID,
        conversation: Conversation,
        history: list[Said],
        message: Message,
        sent: PreparedMessages,
        settings: ConversationSettings,
        fits: Fitted | None = None,
        counted_by: str | None = None,
    ) -> None:
        self.conversation_id = conversation_id
        # What the history keeps: personal data that was taken out of a message is not sent with the next one either.
        self.content: str = sent.messages[0]["content"]
        self.turn = conversation.last_turn + 1
        self.after = conversation.version
        self.budget_tokens = settings.token_budget
        self.dropped_turns = 0 if fits is None else fits.dropped_turns
        self.tokens = None if fits is None else fits.tokens
        self.counted_by = counted_by
        before: list[dict[str, Any]] = [each for said in history[self.dropped_turns :] for each in said]
        # Each turn is a call of its own: forks that say the same at once want an answer each.
        self.question = Question(
            messages=(*before, *sent.messages),
            system=settings.system,
            provider=settings.provider,
            model=settings.model,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            seed=settings.seed,
            group=message.group,
            metadata={**message.metadata, "conversation_id": str(conversation_id), "turn": self.turn},
            share=False,
        )
        self.words = structs.replace(sent, messages=messages_of(self.question))

    def taken(self, answer: Answer, position: int | None) -> TakenTurn:
        """The turn, once it is durable."""
        return TakenTurn(
            conversation_id=self.conversation_id,
            turn=self.turn,
            answer=answer,
            position=position,
            dropped_turns=self.dropped_turns,
            budget_tokens=self.budget_tokens,
            prompt_tokens_estimated=self.tokens,
            counted_by=self.counted_by,
        )


def _settings_for(settings: ConversationSettings, message: Message) -> ConversationSettings:
    """What holds for a message: its own options before the conversation's. Raises Rejected."""
    said = {
        name: value
        for name in ("provider", "model", "temperature", "max_tokens", "seed", "token_budget")
        if (value := getattr(message, name)) is not None
    }
    if "provider" in said and said["provider"] != settings.provider:
        said.setdefault("model", None)
    return checked_settings(structs.replace(settings, **said))
