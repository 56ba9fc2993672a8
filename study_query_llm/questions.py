"""What a question may say, as keyword arguments."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from msgspec import structs

from application.ask_model import Question
from application.group_calls import group_place
from domain.preprocessing import parse_steps
from interfaces.as_of import Moment
from interfaces.duration import seconds_of
from projections.paging import PAGE, Paging


class AskOptions(TypedDict, total=False):
    """What a question may say besides its prompt; nothing is sent to the provider that is not given."""

    messages: Sequence[dict[str, Any]]
    system: str | None
    provider: str | None
    model: str | None
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    group: str | None
    metadata: Mapping[str, Any] | None
    attempts: int | None
    attempt_timeout_seconds: float | None
    call_timeout_seconds: float | None
    share: bool
    cache: str | float | None
    template: str | None
    fields: Mapping[str, str] | None
    preprocess: Sequence[str]


def question_of(prompt: str | None, options: AskOptions) -> Question:
    """As the use case takes it. Raises Rejected, and TypeError for an option that there is not."""
    given: dict[str, Any] = dict(options)
    if unknown := given.keys() - AskOptions.__annotations__.keys():
        raise TypeError(
            f"There is no option {', '.join(sorted(unknown))}; there are {', '.join(AskOptions.__annotations__)}"
        )
    cache = given.pop("cache", None)
    steps, template, fields = (given.pop(name, None) for name in ("preprocess", "template", "fields"))
    return Question(
        **{
            **given,
            "prompt": prompt,
            "messages": tuple(given.get("messages") or ()),
            "group": group_place(given.get("group")),
            "metadata": dict(given.get("metadata") or {}),
            "preprocessing": parse_steps(steps or (), template=template, fields=dict(fields or {})),
            "cache_seconds": None if cache is None else seconds_of(cache, "cache"),
        }
    )


def question_of_mapping(given: Mapping[str, Any], options: AskOptions) -> Question:
    """A question with a prompt or messages and options of its own, which come before the others."""
    own = dict(given)
    prompt = own.pop("prompt", None)
    n = own.pop("n", 1)
    return structs.replace(question_of(prompt, cast(AskOptions, {**options, **own})), samples=n)


def moment_and_page(filters: dict[str, Any]) -> tuple[Moment, Paging]:
    """Take the moment and the page out of what a list was asked with; its filters are left."""
    moment = Moment(filters.pop("as_of", None), filters.pop("at_least", None))
    return moment, Paging(filters.pop("limit", PAGE), filters.pop("cursor", None))
