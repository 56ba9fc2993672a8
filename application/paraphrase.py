"""Who words a sweep's clusters: a model through captured calls, or a Python function of the caller's.

A function is recorded as what it is: `python:` with its qualified name and, where its source can be had, a part of the
source's hash. So a function that was changed makes another sweep, and the finished one is not found in its place. What
the function reads from elsewhere can't be seen: who changes that forces a new sweep.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from application.ask_batch import Progress
from application.group_calls import GroupPlace
from application.notebook import Context
from application.summarise_texts import SummariseTexts, Summary, TextsToSummarise, fallen_back
from domain.errors import Rejected
from domain.identity import sha256_hex

PYTHON = "python:"
LONGEST_PARAPHRASE = 10_000  # characters

Paraphraser = Callable[[list[str]], str | Awaitable[str]]
"""Takes the texts that stand for a cluster, and returns what they say."""


class ModelSummaries:
    """Implements the port Summarise with a model."""

    def __init__(self, summarise: SummariseTexts, provider: str, model: str, context: Context) -> None:
        self._summarise = summarise
        self._provider = provider
        self._model = model
        self._context = context

    async def __call__(
        self, lists: Sequence[tuple[str, ...]], *, template: str, place: GroupPlace, progress: Progress | None = None
    ) -> list[Summary]:
        """See Summarise. What the group's calls answered before is not asked again."""
        wanted = TextsToSummarise(
            lists=tuple(lists),
            provider=self._provider,
            model=self._model,
            template=template,
            group=place,
            all_listed=True,
        )
        try:
            return list((await self._summarise(wanted, self._context, progress=progress)).summaries)
        except Rejected as error:  # as when the deployment has gone since the sweep began
            return [fallen_back(texts, "rejected", str(error)) for texts in lists]

    async def check(self) -> None:
        """Raises Rejected when the model can't be asked at all."""
        await self._summarise.check(self._provider, self._model, self._context)


class FunctionSummaries:
    """Implements the port Summarise with a function: one list at a time, in a thread unless it is a coroutine."""

    def __init__(self, paraphraser: Paraphraser) -> None:
        self._paraphraser = paraphraser

    async def __call__(
        self,
        lists: Sequence[tuple[str, ...]],
        *,
        template: str,  # noqa: ARG002 - the function has words of its own
        place: GroupPlace,  # noqa: ARG002 - there are no calls to group
        progress: Progress | None = None,
    ) -> list[Summary]:
        """See Summarise. A function that raises, or returns no text, falls back."""
        summaries = []
        for done, texts in enumerate(lists, start=1):
            summaries.append(await self._summary(texts))
            if progress is not None:
                progress(done, len(lists))
        return summaries

    async def _summary(self, texts: tuple[str, ...]) -> Summary:
        try:
            said = await self._said(list(texts))
        except Exception as error:  # noqa: BLE001 - whatever the caller's function raises, the clusters keep their names
            return fallen_back(texts, "failed", f"{type(error).__name__}: {error}"[:LONGEST_PARAPHRASE])
        if not isinstance(said, str):
            return fallen_back(texts, "failed", f"the function returned {type(said).__name__}, not a text")
        if not said.strip():
            return fallen_back(texts, "empty", "the function returned an empty text")
        return Summary(text=said.strip()[:LONGEST_PARAPHRASE], call_id=None, fell_back=False)

    async def _said(self, texts: list[str]) -> object:
        called = getattr(self._paraphraser, "__call__", None)  # noqa: B004 - an object may be called by a coroutine
        if inspect.iscoroutinefunction(self._paraphraser) or inspect.iscoroutinefunction(called):
            return await self._paraphraser(texts)  # type: ignore[misc]
        said = await asyncio.to_thread(self._paraphraser, texts)
        return await said if inspect.isawaitable(said) else said


def recorded_name(paraphraser: Paraphraser) -> str:
    """What a sweep's configuration, and so its fingerprint, says of a function. Raises Rejected for what is none."""
    if not callable(paraphraser):
        raise Rejected(
            f'A paraphraser is "provider/model" or a function of texts, not {type(paraphraser).__name__}',
            fields=("paraphraser",),
        )
    given: Any = paraphraser
    told = ""
    while isinstance(given, partial):
        given, told = given.func, f"{told}{given.args!r}{given.keywords!r}"
    known = given if hasattr(given, "__qualname__") else type(given)
    with suppress(OSError, TypeError):
        told += inspect.getsource(known)
    name = f"{PYTHON}{known.__module__}.{known.__qualname__}"
    return f"{name}@{sha256_hex(told.encode())[:12]}" if told else name


def summariser_of(
    named: str, paraphraser: Paraphraser | None, summarise: SummariseTexts, context: Context
) -> "ModelSummaries | FunctionSummaries":
    """Who words clusters, as a configuration that was checked names them."""
    if paraphraser is not None:
        return FunctionSummaries(paraphraser)
    provider, _, model = named.partition("/")
    return ModelSummaries(summarise, provider, model, context)
