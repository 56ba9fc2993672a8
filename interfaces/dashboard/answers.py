"""An answer, or a failure, with what is known of its call."""

from typing import Any

from markupsafe import Markup

from application.ask_model import Answer
from application.batches import Outcome
from domain.errors import ProviderFailed
from domain.pricing import plain
from interfaces.dashboard.call import attempts_of
from interfaces.dashboard.figures import count, dollars, duration
from interfaces.dashboard.page import Page
from interfaces.dashboard.states import failure
from interfaces.dashboard.tables import cards, link, prose

Call = dict[str, Any] | None


def answered(page: Page, answer: Answer, call: Call) -> Markup:
    """An answer, its figures, its attempts if there were several, and the way to its call."""
    return Markup('<section aria-label="Answer" class="answer">{}{}{}{}</section>').format(
        _text(answer), cards(_figures(answer)), _attempts(call), _way(page, answer.call_id)
    )


def failed(page: Page, error: ProviderFailed, call: Call) -> Markup:
    """What a provider failed with at last, each attempt before that, and the way to the call."""
    return Markup('<section aria-label="Failure" class="answer">{}{}{}</section>').format(
        failure(error), _attempts(call), _way(page, error.call_id)
    )


def sample(page: Page, number: int, outcome: Outcome, call: Call) -> Markup:
    """One of several answers to a question."""
    if isinstance(outcome, Answer):
        shown = _text(outcome) + Markup('<p class="note">{} · {} tokens · {}</p>').format(
            duration(outcome.latency_ms), count(outcome.tokens.total), dollars(plain(outcome.cost))
        )
    else:
        shown = Markup('<p class="failure">{}</p>').format(outcome.error)
    way = Markup("") if outcome.call_id is None else _way(page, outcome.call_id)
    return Markup('<article class="sample"><h2>Sample {}</h2>{}{}{}</article>').format(
        number, shown, _attempts(call), way
    )


def _text(answer: Answer) -> Markup:
    return prose(answer.text) if answer.text else Markup('<p class="note">The answer has no text.</p>')


def _figures(answer: Answer) -> list[tuple[str, str | Markup]]:
    tokens = answer.tokens
    cost: str | Markup = dollars(plain(answer.cost))
    if answer.cached or answer.shared_with:
        cost = Markup('{}<span class="note">{}</span>').format(cost, "from the cache" if answer.cached else "shared")
    return [
        ("Model", Markup('{}<span class="note">{}</span>').format(answer.model, answer.provider)),
        ("Latency", duration(answer.latency_ms)),
        ("First token", duration(answer.first_token_ms)),
        (
            "Tokens",
            Markup('{}<span class="note">{} in, {} out</span>').format(
                count(tokens.total), count(tokens.prompt), count(tokens.completion)
            ),
        ),
        ("Cost", cost),
        ("Attempts", count(answer.attempts)),
    ]


def _attempts(call: Call) -> Markup:
    if call is None or len(call["attempts_made"]) < 2:
        return Markup("")
    return Markup("<h2>Attempts</h2>{}").format(attempts_of(call))


def _way(page: Page, call_id: object) -> Markup:
    return Markup("<p>{}</p>").format(
        link(page.href("calls", call=call_id), "Everything that is recorded of this call →")
    )
