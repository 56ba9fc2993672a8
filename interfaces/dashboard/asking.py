"""The form that asks, and what it shows while the answer comes. Imports Panel."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from markupsafe import Markup
from msgspec import structs

from application.ask_model import Answer, Question
from application.batches import Outcome
from application.group_calls import group_place
from application.notebook import Context
from domain.errors import ProviderFailed, Rejected, StudyError
from domain.preprocessing import parse_steps
from interfaces.as_of import Moment
from interfaces.dashboard.answers import answered, failed, sample
from interfaces.dashboard.controls import (
    Changing,
    button,
    column,
    folded,
    line,
    long_text,
    offered,
    one_of,
    row,
)
from interfaces.dashboard.filled_in import number_in, text_in, told, whole_in
from interfaces.dashboard.page import Page

SHOWN_EVERY_SECONDS = 0.06
MODELS_WITHIN_SECONDS = 10.0
WAITING = Markup('<p class="waiting" role="status">Waiting for the answer …</p>')
STOPPED = Markup('<p class="waiting" role="status">Stopped. A call that was under way is recorded as cancelled.</p>')


class AskForm:
    """The fields, the buttons and the result of one page."""

    def __init__(self, page: Page, given: Mapping[str, str]) -> None:
        self._page = page
        self._running: asyncio.Task[None] | None = None
        providers = page.study.providers.configured()
        first = given["provider"] if given["provider"] in providers else page.usual_provider
        self.prompt = long_text(
            "Prompt", rows=5, hint="What do you want to know?", value=given["prompt"], css=["first"]
        )
        self.provider = one_of("Provider", providers, first)
        self.model = offered("Model", hint="the provider’s default", value=given["model"])
        self.samples = line("Samples", value="1")
        self.system = long_text("System message", rows=2)
        self.temperature = line("Temperature", hint="0 to 2")
        self.max_tokens = line("Most tokens")
        self.seed = line("Seed")
        self.attempts = line("Attempts")
        self.template = line("Template", hint="Answer briefly: {user_input}")
        self.group = line("Group", hint="TYPE/NAME", value=given["group"])
        self.role = line("Role in the group", hint="sample")
        self.position = line("Position in the group")
        self.ask = button("Ask", primary=True)
        self.stop = button("Stop", visible=False)
        self.result = Changing()
        self.ask.on_click(self._pressed)
        self.stop.on_click(self._stopped)
        self.provider.param.watch(self._provider_chosen, "value")
        self.fields = column(
            self.prompt,
            row(self.provider, self.model, self.samples),
            folded(
                "Parameters, template and group",
                self.system,
                row(self.temperature, self.max_tokens, self.seed, self.attempts),
                self.template,
                row(self.group, self.role, self.position),
            ),
            row(self.ask, self.stop),
        )

    async def load_models(self) -> None:
        """Offer the models that the chosen provider has, if it says so in time."""
        provider = self.provider.value
        try:
            async with asyncio.timeout(MODELS_WITHIN_SECONDS):
                models = await self._page.study.providers.models(provider)
        except (StudyError, TimeoutError):
            models = []  # its models can't be listed just now; one can be written all the same
        if provider == self.provider.value:
            self.model.options = sorted(models)

    def leave(self) -> None:
        """Nobody waits for the answer any longer."""
        if self._running is not None:
            self._running.cancel()

    async def _provider_chosen(self, _event: Any) -> None:
        self.model.value = ""
        await self.load_models()

    def _pressed(self, _event: Any) -> None:
        if self._running is None or self._running.done():
            # A task of its own, since Stop is not heard while this handler runs.
            self._running = asyncio.create_task(self._ask())

    def _stopped(self, _event: Any) -> None:
        self.leave()

    async def _ask(self) -> None:
        self.ask.disabled, self.stop.visible = True, True
        self.result.show(WAITING)
        try:
            self.result.show(await told(self._outcome))
        except asyncio.CancelledError:
            self.result.show(STOPPED)
        finally:
            self.ask.disabled, self.stop.visible = False, False

    async def _outcome(self) -> Markup:
        try:
            return await self._answered(self._question(), await self._page.context())
        except ProviderFailed as error:
            return failed(self._page, error, await self._call(error.call_id, error.position))

    async def _answered(self, question: Question, context: Context) -> Markup:
        if question.samples > 1:
            outcomes = await self._page.study.asking.samples(question, context)
            return Markup('<div class="samples">{}</div>').format(
                Markup("").join([await self._sample(number, each) for number, each in enumerate(outcomes, 1)])
            )
        answer = await self._asked_once(question, context)
        return answered(self._page, answer, await self._call(answer.call_id, answer.position))

    async def _asked_once(self, question: Question, context: Context) -> Answer:
        try:
            return await self._streamed(question, context)
        except Rejected as error:
            if set(error.fields) != {"provider", "stream"}:
                raise
        return await self._page.study.asking.ask(question, context)

    async def _streamed(self, question: Question, context: Context) -> Answer:
        text, shown_at = "", 0.0
        async with self._page.study.asking.stream(question, context) as stream:
            async for piece in stream:
                text += piece
                if time.monotonic() - shown_at > SHOWN_EVERY_SECONDS:
                    self.result.show(Markup('<div class="prose coming" aria-busy="true">{}</div>').format(text))
                    shown_at = time.monotonic()
            return stream.answer

    async def _sample(self, number: int, outcome: Outcome) -> Markup:
        position = outcome.position if isinstance(outcome, Answer) else None
        call = None if outcome.call_id is None else await self._call(outcome.call_id, position)
        return sample(self._page, number, outcome, call)

    async def _call(self, call_id: Any, position: int | None) -> dict[str, Any] | None:
        with suppress(StudyError):  # it is stored, or waits in the journal: the answer is shown all the same
            return await self._page.study.calls.get(str(call_id), Moment(at_least=position))
        return None

    def _question(self) -> Question:
        prompt = self.prompt.value_input or self.prompt.value
        if not prompt.strip():
            raise Rejected("Write a prompt first", fields=("prompt",))
        place, role = group_place(text_in(self.group)), text_in(self.role)
        position = whole_in(self.position)
        if place is None and (role is not None or position is not None):
            raise Rejected("A role or a position needs a group, written TYPE/NAME", fields=("group",))
        if place is not None:
            place = structs.replace(place, role=role, position=position)
        return Question(
            prompt=prompt,
            system=text_in(self.system),
            provider=self.provider.value,
            model=text_in(self.model),
            temperature=number_in(self.temperature),
            max_tokens=whole_in(self.max_tokens),
            seed=whole_in(self.seed),
            samples=whole_in(self.samples) or 1,
            attempts=whole_in(self.attempts),
            group=place,
            preprocessing=parse_steps([], template=text_in(self.template), fields={}),
        )
