"""Summarise lists of texts through captured calls, many at once; a failed summary falls back and says so."""

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog
from msgspec import Struct

from application.ask_model import AskModel, Question
from application.group_calls import GroupPlace
from application.notebook import Context
from domain.errors import ProviderFailed

SUMMARIES_IN_FLIGHT = 8
LONGEST_NAME_CHARACTERS = 80
NAME_THE_TOPIC = "Name the topic that these texts share, in at most five words. Answer with the name alone.\n\n{texts}"

log = structlog.get_logger(__name__)


class Summary(Struct, frozen=True, kw_only=True):
    """A list of texts in few words; `fell_back` when the model failed and the first text stands in."""

    text: str
    call_id: UUID | None
    fell_back: bool


class SummariseTexts:
    """Summarises."""

    def __init__(self, ask_model: AskModel) -> None:
        self._ask_model = ask_model

    async def __call__(
        self,
        lists: Sequence[tuple[str, ...]],
        context: Context,
        *,
        provider: str | None,
        model: str | None,
        group: GroupPlace | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Summary]:
        """One summary a list, in order. Raises Rejected when the provider or model can't be asked at all."""
        places = asyncio.Semaphore(SUMMARIES_IN_FLIGHT)
        done = 0

        async def summarise(position: int, texts: tuple[str, ...]) -> Summary:
            nonlocal done
            async with places:
                summary = await self._summarise(texts, context, provider, model, _at(group, position))
            done += 1
            if progress:
                progress(done, len(lists))
            return summary

        return list(await asyncio.gather(*(summarise(place, texts) for place, texts in enumerate(lists))))

    async def _summarise(
        self,
        texts: tuple[str, ...],
        context: Context,
        provider: str | None,
        model: str | None,
        group: GroupPlace | None,
    ) -> Summary:
        prompt = NAME_THE_TOPIC.format(texts="\n".join(f"- {' '.join(text.split())}" for text in texts))
        question = Question(prompt=prompt, provider=provider, model=model, group=group)
        try:
            answer = await self._ask_model(question, context)
        except ProviderFailed as failure:
            log.warning("a summary failed; the first text stands in", reason=str(failure), call_id=failure.call_id)
            return Summary(text=_short(texts[0]), call_id=UUID(failure.call_id), fell_back=True)
        if not answer.text or not answer.text.strip():
            return Summary(text=_short(texts[0]), call_id=answer.call_id, fell_back=True)
        return Summary(text=_short(answer.text), call_id=answer.call_id, fell_back=False)


def _at(group: GroupPlace | None, position: int) -> GroupPlace | None:
    if group is None:
        return None
    return GroupPlace(group_type=group.group_type, name=group.name, role=group.role or "output", position=position)


def _short(text: str) -> str:
    """One line of at most 80 characters, without quotation marks around it."""
    line = " ".join(text.split()).strip("\"'“”.")
    return line if len(line) <= LONGEST_NAME_CHARACTERS else line[: LONGEST_NAME_CHARACTERS - 1].rstrip() + "…"
