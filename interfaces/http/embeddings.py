"""Embeddings: texts in, vectors out, each distinct text paid for once."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
import numpy as np
from litestar import Router, post
from litestar.openapi.spec import Example
from litestar.params import Body
from msgspec import Meta, Struct

from application.embed_texts import Embedded, TextsToEmbed
from application.find_similar import SimilarTo
from domain.nearest import MOST_RESULTS
from domain.pricing import plain
from interfaces.as_of import Moment
from interfaces.http.calls import GroupBody
from interfaces.http.parameters import Name, OpenStudy, RequestContext, time_of
from interfaces.http.problems import problem_responses
from interfaces.study.vectors import filter_of

MOST_TEXTS = 10_000
LONGEST_VECTOR = 16_000


class EmbeddingsBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Texts to embed, in order."""

    texts: Annotated[list[str], Meta(min_length=1, max_length=MOST_TEXTS)]
    provider: Name | None = None
    model: Name | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    group: GroupBody | None = None
    metadata: dict[str, Any] = {}


class EmbeddedText(Struct, frozen=True, kw_only=True):
    """One text's vector, bit for bit the provider's float32, and the call that paid for it."""

    index: int
    vector: list[float]
    model: str
    dimension: int
    norm: float
    request_hash: str
    cached: bool
    call_id: UUID


class EmbeddedTexts(Struct, frozen=True, kw_only=True):
    """Vectors in the order of the texts, durable at `position`.

    cost: USD that was paid for these texts; saved: that the cached ones would have cost again; null where unknown
    """

    items: list[EmbeddedText]
    position: int | None
    cost: str | None
    saved: str | None


@post("/embeddings", summary="Embed texts", status_code=200, responses=problem_responses(400, 413, 502, 503))
async def embed_texts(
    data: Annotated[
        EmbeddingsBody, Body(title="What to embed", examples=[Example(value={"texts": ["a cat", "a dog"]})])
    ],
    study: OpenStudy,
    context: RequestContext,
) -> EmbeddedTexts:
    """Embed texts. Those embedded before under equal circumstances come from the cache, and no provider is called."""
    wanted = TextsToEmbed(
        texts=tuple(data.texts),
        provider=data.provider,
        model=data.model,
        dimensions=data.dimensions,
        group=None if data.group is None else data.group.place(),
        metadata=data.metadata,
    )
    return _answer(await study.embeddings.of_texts(wanted, context))


def _answer(embedded: Embedded) -> EmbeddedTexts:
    norms = np.linalg.norm(embedded.vectors.astype(np.float64), axis=1)
    items = [
        EmbeddedText(
            index=index,
            vector=vector.tolist(),
            model=embedded.model,
            dimension=len(vector),
            norm=float(norms[index]),
            request_hash=embedded.request_hashes[index],
            cached=bool(embedded.cached[index]),
            call_id=embedded.call_ids[index],
        )
        for index, vector in enumerate(embedded.vectors)
    ]
    return EmbeddedTexts(
        items=items, position=embedded.position, cost=plain(embedded.cost), saved=plain(embedded.saved)
    )


class SearchBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text or a vector, and which vectors to compare it with; a model where there are several."""

    text: Annotated[str, Meta(min_length=1)] | None = None
    vector: Annotated[list[float], Meta(min_length=1, max_length=LONGEST_VECTOR)] | None = None
    provider: Name | None = None
    model: Name | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    group_id: UUID | None = None
    since: str | None = None
    until: str | None = None
    as_of: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_RESULTS)] = 10


class SimilarText(Struct, frozen=True, kw_only=True):
    """An embedded text and its cosine similarity, −1 to 1; its vector is row `input_index` of the call's answer."""

    text: str | None
    similarity: float
    call_id: UUID
    input_index: int
    request_hash: str | None
    provider: str
    model: str
    dimension: int
    created_at: datetime
    position: int


class SimilarTexts(Struct, frozen=True, kw_only=True):
    """The most similar texts, the most similar first."""

    items: list[SimilarText]


@post(
    "/embeddings/search", summary="Find similar texts", status_code=200, responses=problem_responses(400, 404, 502, 503)
)
async def search_embeddings(
    data: Annotated[
        SearchBody, Body(title="What to compare", examples=[Example(value={"text": "a small cat", "limit": 5})])
    ],
    study: OpenStudy,
    context: RequestContext,
) -> SimilarTexts:
    """Find the embedded texts most similar to a text, which is embedded by the same model and recorded, or a vector."""
    wanted = filter_of(
        provider=data.provider,
        model=data.model,
        dimensions=data.dimensions,
        group_id=data.group_id,
        since=time_of(data.since, "since"),
        until=time_of(data.until, "until"),
    )
    asked = SimilarTo(text=data.text, vector=data.vector, wanted=wanted, limit=data.limit)
    found = await study.vectors.similar(asked, context, Moment(data.as_of))
    return msgspec.convert({"items": found["items"]}, SimilarTexts)


ROUTES = Router("/", route_handlers=[embed_texts, search_embeddings], tags=["embeddings"])
