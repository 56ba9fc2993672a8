"""Run a prompt's steps, and keep what it was before them."""

import asyncio

from msgspec import Struct

from application.ports import Payload
from domain.preprocessing import Messages, Preprocessed, Preprocessing, Tokenizer, preprocess

MOST_CHARACTERS_AT_ONCE = 20_000  # more are preprocessed in a thread, so that other calls go on meanwhile


class PreparedMessages(Struct, frozen=True, kw_only=True):
    """Messages as they are sent, and what is kept of how they came about; nothing where no step ran."""

    messages: Messages
    preprocessing: Preprocessed | None = None
    original: Payload | None = None


async def preprocessed(
    messages: Messages, wanted: Preprocessing, tokenizer: Tokenizer | None = None
) -> PreparedMessages:
    """The messages after the steps. Raises Rejected; see `domain.preprocessing.preprocess`."""
    if _characters(messages, wanted) > MOST_CHARACTERS_AT_ONCE:
        outcome = await asyncio.to_thread(preprocess, messages, wanted, tokenizer)
    else:
        outcome = preprocess(messages, wanted, tokenizer)
        await asyncio.sleep(0)  # or a large batch would keep everybody else waiting
    original: Payload | None = None
    if outcome.original is not None:
        original = Payload(part="original", body=outcome.original, media_type="application/json", is_json=True)
    return PreparedMessages(
        messages=outcome.messages,
        preprocessing=Preprocessed(
            steps=outcome.steps,
            original_sha256=outcome.original_sha256,
            original=None if original is None else original.ref(),
        ),
        original=original,
    )


def _characters(messages: Messages, wanted: Preprocessing) -> int:
    return sum(len(str(message.get("content"))) for message in messages) + sum(map(len, wanted.fields.values()))
