"""Which calls a route is asked about: the filters that lists, sums and exports have in common, and searches."""

from typing import Annotated, Literal
from uuid import UUID

from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery, QueryParameter, SkipValidation

from domain.calls import Modality
from interfaces.http.parameters import When, time_of
from projections.call_queries import CallFilter
from projections.search_query import MOST_CHARACTERS

Status = Literal["requested", "success", "failed", "cancelled", "in_doubt"]
Actor = Annotated[str | None, QueryParameter(description="Who asked: a token's name, or a user.")]
Words = Annotated[
    str | None,
    QueryParameter(
        description=(
            'Words to find in the prompt or in the answer: all of them, "these in a row", one OR another, '
            "-without, beginning*."
        ),
        max_length=MOST_CHARACTERS,
    ),
]
Part = Annotated[
    Literal["prompt", "answer"] | None, QueryParameter(description="Search only in prompts, or only in answers.")
]
Match = Annotated[
    Literal["words", "substring"] | None,
    QueryParameter(description="By words, or letter by letter, also inside words: where the server has pg_trgm."),
]
Filter = NamedDependency[SkipValidation[CallFilter]]


def wanted(
    provider: FromQuery[str | None] = None,
    model: FromQuery[str | None] = None,
    modality: FromQuery[Modality | None] = None,
    status: FromQuery[Status | None] = None,
    group_id: FromQuery[UUID | None] = None,
    actor: Actor = None,
    since: When = None,
    until: When = None,
) -> CallFilter:
    """The dependency `wanted`: which calls are asked for."""
    return CallFilter(
        provider=provider,
        model=model,
        modality=modality,
        status=status,
        group_id=group_id,
        actor=actor,
        since=time_of(since, "since"),
        until=time_of(until, "until"),
    )


WANTED = {"wanted": Provide(wanted, sync_to_thread=False)}
